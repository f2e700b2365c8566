"""Layers that ONNX says in several operations come back from a model that was exported from a net."""

from __future__ import annotations

import pytest

from caffe_lite import TEST
from caffe_lite.errors import NetError
from caffe_lite.export import from_onnx, to_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer {
  name: "pool" type: "Pooling" bottom: "x" top: "pool" top: "mask" pooling_param { kernel_size: 2 stride: 2 }
}
layer { name: "prior" type: "PriorBox" bottom: "pool" bottom: "x" top: "prior" prior_box_param { min_size: 3 } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "pool" top: "sum" eltwise_param { coeff: 2 coeff: -0.5 } }
layer {
  name: "up" type: "Upsample" bottom: "sum" bottom: "mask" top: "up" upsample_param { scale: 2 }
}
layer { name: "steps" type: "Reshape" bottom: "up" top: "steps" reshape_param { shape { dim: 6 dim: 1 dim: 12 } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 6 dim: 1 } } }
layer {
  name: "lstm" type: "LSTM" bottom: "steps" bottom: "cont" top: "lstm"
  recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -1 } }
}
"""


@pytest.fixture
def path(make_net, tmp_path):
    to_onnx(make_net(NET, TEST), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_layers_come_back(path) -> None:
    layers = {layer.name: layer for layer in from_onnx(path).message.layer}
    assert layers["lstm"].recurrent_param.num_output == 3
    assert len(layers["lstm"].blobs) == 3
    types = [layer.type for layer in layers.values()]
    for kind in ("Pooling", "Eltwise", "Upsample", "LSTM"):
        assert types.count(kind) == 1


def test_a_target_without_the_layer(path) -> None:
    with pytest.raises(NetError, match=r"ScatterElements\): .*\(--target all can\)|ScatterElements"):
        from_onnx(path, target="bvlc")


def test_a_model_that_was_changed(path) -> None:
    model = onnx.load(path)
    inner = next(node for node in model.graph.node if node.name.startswith("sum/") and node.output[0] != "sum")
    model.graph.output.append(onnx.helper.make_tensor_value_info(inner.output[0], onnx.TensorProto.FLOAT, None))
    imported = from_onnx(model)
    assert "Eltwise" not in [layer.type for layer in imported.message.layer if layer.name == "sum" and layer.blobs]
    assert inner.output[0] in imported.outputs
