from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import caffe_lite
from caffe_lite import TEST
from caffe_lite.errors import NetError
from caffe_lite.export import from_onnx, from_torch, to_onnx
from caffe_lite.importing import writer
from caffe_lite.importing.writer import Spelling

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer {
  name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { filler { value: 3 } bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    net = caffe_lite.Net(tmp_path / "net.prototxt", TEST, engine="numpy", seed=0)
    mean, variance, factor = net.params["norm"]
    mean.data[...], variance.data[...], factor.data[...] = [0.1, 0.2, -0.3, 0.4], [1, 2, 0.5, 1.5], 1
    return net


@pytest.mark.parametrize("target", ["bvlc", "all"])
def test_a_net_comes_back(net, target, tmp_path) -> None:
    to_onnx(net, tmp_path / "net.onnx", fold=False, batch=2)
    for fold, layers in ((False, {"BatchNorm", "Scale"}), (True, set())):
        imported = from_onnx(tmp_path / "net.onnx", target=target, fold=fold)
        types = {layer.type for layer in imported.message.layer}
        assert types & {"BatchNorm", "Scale"} == layers
        imported.save(tmp_path / "out.prototxt", tmp_path / "out.caffemodel")
        again = caffe_lite.Net(tmp_path / "out.prototxt", TEST, weights=tmp_path / "out.caffemodel")
        x = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
        for one in (net, again):
            one.blobs["x"].data[...] = x
        np.testing.assert_allclose(again.forward()["prob"], net.forward()["prob"], atol=1e-5)
        again.close()


def test_a_net_that_differs_is_told_with_its_first_blob(net, tmp_path, monkeypatch) -> None:
    to_onnx(net, tmp_path / "net.onnx")
    wrong = Spelling(
        ("ReLU",), lambda w, node: w.add("ReLU", [w.blob(node.inputs[0])], relu_param={"negative_slope": 1})
    )
    monkeypatch.setitem(writer.SPELLINGS, "Relu", [wrong])
    with pytest.raises(NetError, match=r"the two forms differ: .* The first blob to differ is '(norm|relu)"):
        from_onnx(tmp_path / "net.onnx")


@pytest.mark.slow
def test_from_torch() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.SiLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 5),
    )
    module.train()
    x = torch.randn(2, 3, 4, 4)
    imported = from_torch(module, x, target="bvlc")
    assert module.training
    module.eval()
    (name,) = imported.net.inputs
    imported.net.blobs[name].data[...] = x.numpy()
    (y,) = imported.net.forward().values()
    np.testing.assert_allclose(y, module(x).detach().numpy(), atol=1e-5)


def _torchvision_tool():
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    tools = str(Path(__file__).parents[2] / "tools")
    sys.path.insert(0, tools)
    try:
        import import_torchvision
    finally:
        sys.path.remove(tools)
    try:
        import_torchvision.torchvision()
    except ImportError:
        pytest.skip("torchvision is not installed")
    return import_torchvision


NETS = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "googlenet", "densenet121")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dynamo"),
    [*((name, True) for name in NETS), ("mobilenet_v3_small", False), ("shufflenet_v2_x0_5", False)],
)
def test_nets_of_torchvision(name, dynamo) -> None:
    tool = _torchvision_tool()
    row = tool.imported(name, dynamo)
    assert not row.errors
    for imported in row.found.values():
        assert max(one.gap.size for one in imported.comparisons) < 1e-4
