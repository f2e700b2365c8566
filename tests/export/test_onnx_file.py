from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError, NetError
from caffe_lite.export import to_onnx
from caffe_lite.layers.inner_product import InnerProductLayer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NET = """
name: "two products"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 } } }
layer {
  name: "a" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param { num_output: 300 weight_filler { type: "xavier" } }
}
layer {
  name: "b" type: "InnerProduct" bottom: "a" top: "b"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
"""


@pytest.fixture
def net(make_net):
    return make_net(NET, TEST)


def run(path, x: np.ndarray) -> np.ndarray:
    (y,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    return y


def test_large_models_keep_their_constants_in_a_second_file(net, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("caffe_lite.export.onnx_file.MOST_BYTES", 1000)
    to_onnx(net, tmp_path / "net.onnx")
    assert sorted(path.name for path in tmp_path.glob("*.onnx*")) == ["net.onnx", "net.onnx.data"]
    assert (tmp_path / "net.onnx").stat().st_size < 4 * 8 * 300 <= (tmp_path / "net.onnx.data").stat().st_size
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    net.blobs["x"].reshape(5, 8)
    np.testing.assert_allclose(run(tmp_path / "net.onnx", x), net.forward(x=x)["b"], rtol=1e-5, atol=1e-6)


def test_what_a_file_says(net, tmp_path) -> None:
    to_onnx(net, tmp_path / "net.onnx", opset=15)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.graph.name, model.producer_name, model.opset_import[0].version) == ("two products", "caffe_lite", 15)
    assert [node.name for node in model.graph.node] == ["a/Gemm", "b/Gemm"]
    assert [tensor.name for tensor in model.graph.initializer] == ["a.weight", "a.bias", "b.weight", "b.bias"]
    (note,) = model.metadata_props
    assert note.key == "caffe_lite.verified"
    assert [line.split()[0] for line in note.value.splitlines()] == ["random", "zero", "large"]


def test_a_file_that_cannot_be_written(net, tmp_path) -> None:
    with pytest.raises(CaffeError, match="Make the folder first"):
        to_onnx(net, tmp_path / "nowhere" / "net.onnx")


def test_a_net_that_differs_leaves_no_file(net, tmp_path, monkeypatch) -> None:
    right = InnerProductLayer.to_onnx
    monkeypatch.setattr(
        InnerProductLayer, "to_onnx", lambda self, g, bottom, top: [g.Add(right(self, g, bottom, top)[0], 1.0)]
    )
    with pytest.raises(NetError, match=r"differ: for random inputs by .* of 'b'\. The first blob to differ is 'a'"):
        to_onnx(net, tmp_path / "net.onnx")
    assert not [path for path in tmp_path.iterdir() if path.name != "net.prototxt"]
