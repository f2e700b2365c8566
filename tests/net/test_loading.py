"""Loading weights into nets: fitting weights are loaded and reported; others change nothing."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import WeightsError
from caffe_lite.net.loading import LoadReport, load, without_leading_ones
from caffe_lite.net.weights import LayerWeights, write_hdf5
from caffe_lite.proto.caffe_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter
from caffe_lite.proto.prototxt import read_net

SHARED = Path(__file__).parents[3] / "shared" / "corpus" / "models"

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 4 } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 1 } }
layer { name: "act" type: "PReLU" bottom: "b" top: "act" }
layer { name: "shift" type: "Bias" bottom: "act" top: "shift" }
"""


@pytest.mark.parametrize(
    ("shape", "core"), [((), ()), ((1, 1), ()), ((1, 1, 3, 1), (3, 1)), ([4, 1], (4, 1)), ((1, 0, 2), (0, 2))]
)
def test_leading_ones_alone_are_left_out(shape, core) -> None:
    assert without_leading_ones(shape) == core


def layer(name: str, *shapes: tuple[int, ...], value: float = 1) -> LayerWeights:
    return LayerWeights(name, "", [np.full(shape, value, "f") for shape in shapes])


@pytest.fixture
def net(make_net) -> Net:
    return make_net(NET, TEST)


def values(net: Net) -> dict[str, list[float]]:
    return {name: [float(blob.data.mean()) for blob in blobs] for name, blobs in net.params.items()}


def test_the_report_tells_what_became_of_each_layer(net: Net, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "w.h5"
    write_hdf5(path, [layer("a", (4, 3), (4,)), layer("b", (1, 1, 1, 4), (1,)), layer("c", (7,)), layer("loss")])
    report = net.copy_from(path)
    assert report == LoadReport(loaded=["a", "b"], reshaped=["b"], ignored=["c"], kept=["act", "shift"])
    assert values(net)["a"] == values(net)["b"] == [1, 1]
    told = [message for message in caplog.messages if "layer" in message or "kept" in message][-4:]
    assert told == [
        "Reshaping param 0 of source layer b from 1 1 1 4 (4) to 1 4 (4)",
        "Ignoring source layer c",
        "Ignoring source layer loss",
        f"Not in {path}, kept as they are: act, shift",
    ]


def test_of_several_files_the_last_wins(net: Net, tmp_path: Path) -> None:
    write_hdf5(tmp_path / "one.h5", [layer("a", (4, 3), (4,)), layer("b", (1, 4), (1,))])
    write_hdf5(tmp_path / "two.h5", [layer("b", (1, 4), (1,), value=2), layer("shift", (1,), value=2)])
    report = net.copy_from(f"{tmp_path / 'one.h5'}, {tmp_path / 'two.h5'}")
    assert report == LoadReport(loaded=["a", "b", "shift"], kept=["act"])
    assert values(net) == {"a": [1, 1], "b": [2, 2], "act": [0.25], "shift": [2]}


def test_a_file_that_does_not_fit_changes_nothing_not_even_by_those_before_it(net: Net, tmp_path: Path) -> None:
    before = values(net)
    write_hdf5(tmp_path / "one.h5", [layer("a", (4, 3), (4,))])
    write_hdf5(tmp_path / "two.h5", [layer("b", (4, 1), (1,))])
    with pytest.raises(WeightsError, match=r'layer "b" .*two\.h5: its shape is 4 1 \(4\), the net\'s is 1 4 \(4\)'):
        net.copy_from(f"{tmp_path / 'one.h5'},{tmp_path / 'two.h5'}")
    with pytest.raises(WeightsError, match=r"two-\.h5: there is no such file"):
        net.copy_from(f"{tmp_path / 'one.h5'},{tmp_path / 'two-.h5'}")
    assert values(net) == before


def test_the_time_grows_with_the_layers_and_no_faster(tmp_path: Path) -> None:
    """Loading and sharing eight times the layers takes about eight times as long (64 times if each layer searched
    all others)."""
    seconds: dict[int, float] = {}
    for count in (500, 4000):
        text = 'layer { name: "x" type: "Input" top: "x0" input_param { shape { dim: 1 } } }\n' + "".join(
            f'layer {{ name: "l{i}" type: "Bias" bottom: "x{i}" top: "x{i + 1}" bias_param {{ axis: 0 }} }}\n'
            for i in range(count)
        )
        (tmp_path / "net.prototxt").write_text(text)
        net, other = (Net(tmp_path / "net.prototxt", TEST, engine="numpy") for _ in range(2))
        weights = [LayerWeights(f"l{i}", "Bias", [np.full(1, i, "f")]) for i in range(count)]
        times = []
        for _ in range(3):
            start = time.process_time()
            report = load(net, [("w", weights)])
            other.share_with(net)
            times.append(time.process_time() - start)
        assert len(report.loaded) == count and float(other.params[f"l{count - 1}"][0].data[0]) == count - 1
        seconds[count] = min(times)
    assert seconds[4000] < 30 * seconds[500], seconds


def test_half_precision_of_nvidia_s_fork(net: Net, tmp_path: Path) -> None:
    """As in its files: type 2 in field 10, the bytes in field 12, and fields with another wire type than here."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float16) for shape in ((4, 3), (4,))]
    blobs = []
    for array in arrays:
        blob = BlobProto()
        blob.shape.dim.extend(array.shape)
        raw = array.astype("<f2").tobytes()
        blobs.append(blob.SerializeToString() + b"\x50\x02\x62" + bytes([len(raw)]) + raw)
    named = LayerParameter(name="a", type="InnerProduct").SerializeToString()
    inside = named + b"".join(b"\x3a" + bytes([len(blob)]) + blob for blob in blobs)
    inside += b"".join(bytes([number << 3 & 0x7F | 0x80, number >> 4, 1]) for number in (145, 146, 147, 148))
    path = tmp_path / "half.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(inside) & 0x7F | 0x80, len(inside) >> 7]) + inside)
    assert len(NetParameter.FromString(path.read_bytes()).layer) == 1
    assert net.copy_from(path).loaded == ["a"]
    for blob, array in zip(net.params["a"], arrays, strict=True):
        assert np.array_equal(blob.data, array.astype(np.float32))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published models are not there")
@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        ("cifar10_m4_arm_h5", [(2, 3, 32, 32), (2,)]),
        ("mtcnn_congweilin_24net_train_only_cls", [(2, 3, 24, 24), (2,), (2, 4), (2, 10)]),
    ],
)
def test_published_weights_of_nets_whose_data_are_elsewhere(model: str, shapes: list[tuple[int, ...]]) -> None:
    net = read_net(SHARED / model / "deploy.prototxt").message
    for layer in [layer for layer in net.layer if not layer.bottom]:
        layer.type = "Input"
        layer.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
    bridge = next((i for i, layer in enumerate(net.layer) if layer.type == "Python"), len(net.layer))
    del net.layer[bridge:]  # the module of these layers is not published
    (weights,) = (SHARED / model).glob("weights.*")
    report = Net(net, TEST).copy_from(weights)
    assert report.loaded and not report.kept
