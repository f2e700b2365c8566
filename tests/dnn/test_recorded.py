"""Nets whose results OpenCV 4.10 computed (tools/record_opencv.py): the same names, shapes and values here."""

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import dnn

NETS = Path(__file__).with_name("nets")


@pytest.fixture(params=sorted(path.stem for path in NETS.glob("*.prototxt")))
def recorded(request, engine, monkeypatch):
    """Return a net with its inputs, and what OpenCV made of it."""
    monkeypatch.setenv("CAFFE_LITE_ENGINE", engine)
    with np.load(NETS / f"{request.param}.npz") as file:
        record = dict(file)
    net = dnn.readNetFromCaffe((NETS / f"{request.param}.prototxt").read_bytes(), record["model"])
    for name, values in named(record, "in").items():
        net.setInput(values, name)
    return net, record


def named(record, kind):
    """Return what the record has of a kind, by the name of the layer or of the input."""
    return {key.partition(":")[2]: value for key, value in record.items() if key.startswith(f"{kind}:")}


def agree(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.ptp(wanted)))


def test_names_numbers_and_types(recorded):
    net, record = recorded
    assert net.getLayerNames() == tuple(record["names"])
    np.testing.assert_array_equal(net.getUnconnectedOutLayers(), record["unread"])
    for name, layer_type in named(record, "type").items():
        assert net.getLayer(name).type == layer_type
        shapes = [tuple(blob.shape) for blob in net.getLayer(name).blobs]
        assert shapes == [tuple(value) for key, value in record.items() if key.startswith(f"blob:{name}:")]


def test_the_output_of_each_layer_by_itself_and_of_all(recorded):
    net, record = recorded
    wanted = named(record, "out")
    assert len(wanted) > 4
    for name, values in wanted.items():
        agree(net.forward(name), values)
    for found, values in zip(net.forward(list(wanted)), wanted.values(), strict=True):
        agree(found, values)


def test_costs(recorded):
    net, record = recorded
    if "flops" not in record:
        pytest.skip("OpenCV cannot make a layer of it")
    shapes = [values.shape for values in named(record, "in").values()]
    assert [net.getFLOPS(number, shapes) for number in range(len(record["flops"]))] == record["flops"].tolist()
    assert net.getFLOPS(shapes) == record["flops"].sum()
    memory = [net.getMemoryConsumption(number, shapes) for number in range(len(record["memory"]))]
    np.testing.assert_array_equal(memory, record["memory"])
