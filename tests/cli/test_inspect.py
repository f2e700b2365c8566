from __future__ import annotations

import re

import numpy as np
import pytest

import caffe_lite
from caffe_lite.errors import DataError, LayerError, WeightsError
from caffe_lite.inspection.weights import compare, describe, draw_histograms

NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {{ num_output: {} }} }}
layer {{ name: "{}" type: "PReLU" bottom: "ip" top: "y" }}
"""


@pytest.fixture
def weights(folder):
    """Return ``weights(file, ip, outputs=3, other="prelu")``, which writes a file; ``ip`` is every weight."""

    def write(file: str, ip: float, outputs: int = 3, other: str = "prelu") -> str:
        (folder / "w.prototxt").write_text(NET.format(outputs, other))
        net = caffe_lite.Net(folder / "w.prototxt", caffe_lite.TEST)
        net.params["ip"][0].data[...] = ip
        (net.save_hdf5 if file.endswith(".h5") else net.save)(str(folder / file))
        return file

    return write


def rows_of(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_what_a_file_holds(caffe, folder, weights):
    pytest.importorskip("matplotlib")
    result = caffe("inspect", weights("w.caffemodel", 0.5), "--histograms", "w.png")
    assert (result.returncode, result.stderr) == (0, "")
    rows = rows_of(result.stdout)
    assert ["ip", "InnerProduct", "0", "3 x 2", "6", "0.5", "0.5", "0.5", "0"] in rows
    assert rows[-1] == ["3 layers, 3 blobs, 12 values (48 bytes)"]
    assert (folder / "w.png").read_bytes().startswith(b"\x89PNG")


def test_an_hdf5_file_has_no_types(folder, weights):
    text = describe(str(folder / weights("w.caffemodel.h5", 0.5)))
    assert ["ip", "0", "3 x 2", "6", "0.5", "0.5", "0.5", "0"] in rows_of(text)


def test_values_that_are_not_finite(folder, weights):
    text = describe(str(folder / weights("w.caffemodel", np.nan)))
    assert text.endswith("\n6 values are not finite; the statistics are those of the others")


def test_how_two_files_differ(caffe, folder, weights):
    weights("a.caffemodel", 0.5)
    result = caffe("inspect", "a.caffemodel", weights("c.caffemodel", 0.5, outputs=4, other="p"))
    assert rows_of(result.stdout)[2:] == [
        ["ip", "0", "3 x 2", "4 x 2", "other shape"],
        ["ip", "1", "3", "4", "other shape"],
        ["prelu", "0", "3", "only in a.caffemodel"],
        ["p", "0", "4", "only in c.caffemodel"],
        [""],
        ["0 blobs are equal, 4 differ"],
    ]
    a, b = str(folder / "a.caffemodel"), str(folder / weights("b.caffemodel.h5", 0.75))
    assert compare(a, a) == "3 blobs are equal, 0 differ"
    rows = rows_of(compare(a, b))
    assert rows[2:] == [["ip", "0", "3 x 2", "3 x 2", "0.25", "0.5"], [""], ["2 blobs are equal, 1 differ"]]


def test_names_in_a_picture(folder, weights):
    pytest.importorskip("matplotlib")
    draw_histograms(str(folder / weights("w.caffemodel", 0.5, other="$x_")), folder / "w.svg")
    data = (folder / "w.svg").read_bytes()
    assert b"<!-- ip 0 -->" in data and b"$x_ 0" in data


def test_load_weights(folder, weights):
    for file in ("w.caffemodel", "w.caffemodel.h5"):
        loaded = caffe_lite.io.load_weights(folder / weights(file, 0.5))
        assert list(loaded) == ["ip", "prelu"]
        assert [blob.shape for blob in loaded["ip"]] == [(3, 2), (3,)]
        np.testing.assert_array_equal(loaded["ip"][0], np.full((3, 2), 0.5))


def test_two_layers_of_one_name(folder, weights):
    message = caffe_lite.proto.caffe_pb2.NetParameter()
    message.ParseFromString((folder / weights("w.caffemodel", 1)).read_bytes())
    message.layer[2].name = "ip"
    (folder / "two.caffemodel").write_bytes(message.SerializeToString())
    with pytest.raises(WeightsError, match="two layers with learned blobs are named 'ip'"):
        caffe_lite.io.load_weights(folder / "two.caffemodel")


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        ('type: "Data" data_param { source: "nowhere" batch_size: 1 }', DataError),
        ('type: "Python" python_param { module: "nowhere" layer: "X" }', LayerError),
    ],
)
def test_a_net_without_its_data_names_the_way_to_its_weights(folder, layer, error):
    (folder / "lacking.prototxt").write_text(f'layer {{ name: "x" top: "x" {layer} }}')
    with pytest.raises(error) as caught:
        caffe_lite.Net(folder / "lacking.prototxt", caffe_lite.TEST, weights="w.caffemodel")
    assert str(caught.value).endswith(
        "; caffe_lite.io.load_weights('w.caffemodel') needs neither the data nor the net."
    )
    with pytest.raises(error) as caught:
        caffe_lite.Net(folder / "lacking.prototxt", caffe_lite.TEST)
    assert "load_weights" not in str(caught.value)
