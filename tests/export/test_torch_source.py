"""Nets as modules of PyTorch: every layer that can be written in ONNX, what the source looks like, shared memory."""

from __future__ import annotations

import ast
import importlib

import numpy as np
import pytest

import caffe_lite
from caffe_lite import TEST
from caffe_lite.errors import CaffeError, NetError

from ..layers.test_table import Entry
from .test_layers_in_onnx import WRITTEN, agrees

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import safetensors.numpy
import safetensors.torch
import torch

from caffe_lite.agreement.comparing import TOLERANCE, gap
from caffe_lite.agreement.torch_running import TorchRun, module_of
from caffe_lite.export import ImageInput, Preparation, to_source, to_torch, to_weights
from caffe_lite.export.torch_operators import TRANSLATIONS
from caffe_lite.export.torch_source import source_of


def running(written) -> TorchRun:
    source = source_of(written, "net", "net.safetensors")
    return TorchRun(module_of(source.text, source.name, source.arrays()), written.inputs, written.outputs)


@pytest.mark.parametrize("entry", WRITTEN, ids=[entry.name for entry in WRITTEN])
def test_every_layer(entry: Entry) -> None:
    agrees(entry, running, own_batch=False)


NET = """
name: "small-net 2"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "fire2/squeeze" type: "Convolution" bottom: "pool1" top: "fire2/squeeze"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "fire2/relu" type: "ReLU" bottom: "fire2/squeeze" top: "fire2/squeeze" }
layer { name: "fire2/1x1" type: "Convolution" bottom: "fire2/squeeze" top: "fire2/1x1"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "fire2/3x3" type: "Convolution" bottom: "fire2/squeeze" top: "fire2/3x3"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "fire2/concat" type: "Concat" bottom: "fire2/1x1" bottom: "fire2/3x3" top: "fire2/concat" }
layer { name: "drop" type: "Dropout" bottom: "fire2/concat" top: "fire2/concat" }
layer { name: "pool" type: "Pooling" bottom: "fire2/concat" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "type" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
layer { name: "half" type: "Power" bottom: "fc" top: "half" power_param { power: 2 scale: 0.5 shift: 1 } }
"""

SOURCE = '''\
"""small-net 2, exported from Caffe by caffe_lite.

Use:

    from safetensors.torch import load_file

    net = SmallNet2().eval()
    net.load_state_dict(load_file("small.safetensors"))
    y = net(data)

Inputs and outputs, by name:

    data: (N, 3, 12, 12)
    prob: (N, 5)
    half: (N, 5)
"""

import torch
import torch.nn.functional as F
from torch import nn


class Fire2(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Conv2d(8, 4, kernel_size=1)
        self.conv_1x1 = nn.Conv2d(4, 8, kernel_size=1)
        self.conv_3x3 = nn.Conv2d(4, 8, kernel_size=3, padding=1)

    def forward(self, x):
        squeeze = F.relu(self.squeeze(x))
        x_1x1 = self.conv_1x1(squeeze)
        x_3x3 = self.conv_3x3(squeeze)
        return torch.cat((x_1x1, x_3x3), dim=1)


class SmallNet2(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.fire2 = Fire2()
        self.type_ = nn.Linear(256, 5)

    def forward(self, data):
        conv1 = F.relu(self.bn1(self.conv1(data)))
        pool1 = F.max_pool2d(conv1, kernel_size=3, stride=2, ceil_mode=True)
        fire2_concat = self.fire2(pool1)
        pool = F.avg_pool2d(fire2_concat, kernel_size=3, stride=2, padding=1, ceil_mode=True)
        fc = self.type_(pool.flatten(1))
        prob = F.softmax(fc, dim=1)
        half = (fc * 0.5 + 1.0) ** 2
        return {"prob": prob, "half": half}
'''


def save(tmp_path, text: str = NET) -> caffe_lite.Net:
    """Return a net whose parameters are random, statistics and factors among them."""
    (tmp_path / "net.prototxt").write_text(text)
    net, rng = caffe_lite.Net(tmp_path / "net.prototxt", TEST, seed=0), np.random.default_rng(0)
    for name in ("bn1", "scale1"):
        for blob in net.params.get(name, ()):
            blob.data[...] = rng.uniform(0.5, 2, blob.data.shape)
    return net


def test_the_source_is_what_a_person_would_write(tmp_path) -> None:
    net = save(tmp_path)
    export = to_source(net, tmp_path / "small.py", fold=False)
    assert [comparison.kind for comparison in export.comparisons] == ["random", "zero", "large"]
    assert (tmp_path / "small.py").read_text() == SOURCE


def test_the_source_needs_torch_alone(tmp_path, monkeypatch) -> None:
    net = save(tmp_path)
    to_source(net, tmp_path / "small_net.py")
    tree = ast.parse((tmp_path / "small_net.py").read_text())
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imported for alias in node.names} == {"torch", "torch.nn.functional", "nn"}
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("small_net").SmallNet2().eval()
    module.load_state_dict(safetensors.torch.load_file(tmp_path / "small_net.safetensors"))
    net.blobs["data"].reshape(3, 3, 12, 12)
    wanted, got = net.forward(data=np.ones((3, 3, 12, 12))), module(torch.ones(3, 3, 12, 12))
    for name in ("prob", "half"):
        assert gap(name, wanted[name], got[name].detach().numpy()).size < TOLERANCE


def test_images_are_prepared(tmp_path) -> None:
    images = ImageInput(Preparation(mean=(1, 2, 3), scale=0.5), "free", channels_last=True)
    to_source(save(tmp_path), tmp_path / "small.py", images=images)
    source = (tmp_path / "small.py").read_text()
    assert "    image: (N, height, width, 3)\n" in source
    assert 'size=(12, 12), mode="bilinear")' in source


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_the_weights_alone(tmp_path, form) -> None:
    net = save(tmp_path)
    to_weights(net, tmp_path / f"w.{form}", fold=False)
    load = np.load if form == "npz" else safetensors.numpy.load_file
    weights = dict(load(tmp_path / f"w.{form}"))
    names = "conv1.weight bn1.weight bn1.bias bn1.running_mean bn1.running_var bn1.num_batches_tracked"
    blocks = [f"fire2.{layer}.{what}" for layer in ("squeeze", "conv_1x1", "conv_3x3") for what in ("weight", "bias")]
    assert set(weights) == {*names.split(), *blocks, "type_.weight", "type_.bias"}
    np.testing.assert_array_equal(weights["conv1.weight"], net.params["conv1"][0].data)
    np.testing.assert_array_equal(weights["fire2.conv_3x3.bias"], net.params["fire2/3x3"][1].data)


def test_a_live_module_shares_memory_with_the_net(engine, tmp_path) -> None:
    save(tmp_path).save(str(tmp_path / "w.caffemodel"))
    net = caffe_lite.Net(tmp_path / "net.prototxt", TEST, weights=tmp_path / "w.caffemodel", engine=engine)
    module = to_torch(net)
    x = np.random.default_rng(1).standard_normal((2, 3, 12, 12)).astype(np.float32)

    def agree() -> None:
        wanted = {name: np.array(values) for name, values in net.forward(data=x).items()}
        for name, values in module(torch.from_numpy(x)).items():
            assert gap(name, wanted[name], values.detach().numpy()).size < TOLERANCE

    agree()
    before = net.blobs["half"].data.copy()
    torch.log(module(torch.from_numpy(x))["prob"][:, 3]).sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.01 * parameter.grad
    agree()
    assert np.abs(net.blobs["half"].data - before).max() > 1e-3
    net.params["fire2/3x3"][0].data[...] *= 2
    net.params["type"][1].data[0] = 7
    agree()
    assert module.type_.bias[0] == 7


def test_a_live_module_of_a_net_that_shares_its_parameters(engine, tmp_path) -> None:
    save(tmp_path)
    trained = caffe_lite.Net(tmp_path / "net.prototxt", caffe_lite.TRAIN, engine=engine)
    tested = caffe_lite.Net(tmp_path / "net.prototxt", TEST, engine=engine)
    tested.share_with(trained)
    module = to_torch(tested)
    trained.params["conv1"][0].data[...] = 3
    assert (module.conv1.weight == 3).all()


def test_a_live_module_in_double_precision(tmp_path) -> None:
    save(tmp_path)
    net = caffe_lite.Net(tmp_path / "net.prototxt", TEST, dtype="float64")
    x = np.random.default_rng(1).standard_normal((2, 3, 12, 12))
    got = to_torch(net)(torch.from_numpy(x))["half"].detach()
    np.testing.assert_allclose(got, net.forward(data=x)["half"], rtol=1e-6)


def test_weights_that_layers_share(tmp_path) -> None:
    shared = 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 12 axis: -1 }'
    text = NET[: NET.index('layer { name: "conv1"')] + "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {shared} }}'
        for name, bottom in (("a", "data"), ("b", "a"))
    )
    net = save(tmp_path, text)
    to_source(net, tmp_path / "shared.py")
    source = (tmp_path / "shared.py").read_text()
    assert source.count("nn.Linear") == 1
    assert "self.a(self.a(data))" in source or source.count("self.a(") == 2


def test_all_that_pytorch_cannot_say_is_told_at_once(tmp_path, monkeypatch) -> None:
    net = save(tmp_path)
    monkeypatch.delitem(TRANSLATIONS, "MaxPool")
    monkeypatch.delitem(TRANSLATIONS, "Softmax")
    with pytest.raises(NetError, match="cannot be written in PyTorch: MaxPool of 'pool1'; Softmax of 'prob'"):
        to_source(net, tmp_path / "small.py")
    assert not list(tmp_path.glob("small*"))


def test_a_module_that_differs_leaves_no_files(tmp_path, monkeypatch) -> None:
    net = save(tmp_path)
    monkeypatch.setitem(TRANSLATIONS, "AveragePool", TRANSLATIONS["MaxPool"])
    with pytest.raises(NetError, match="The first blob to differ is 'pool'"):
        to_source(net, tmp_path / "small.py")
    assert {path.name for path in tmp_path.iterdir()} == {"net.prototxt"}


@pytest.mark.parametrize(("write", "name"), [(to_source, "small.txt"), (to_weights, "small.py")])
def test_files_of_other_forms(tmp_path, write, name) -> None:
    with pytest.raises(CaffeError, match=f"{name}' "):
        write(save(tmp_path), tmp_path / name)


def test_names_that_python_does_not_allow(tmp_path) -> None:
    text = """name: "3 \\" names" layer { name: "F" type: "Input" top: "F" input_param { shape { dim: 2 dim: 3 } } }"""
    names = ["class", "\N{MICRO SIGN}", "a/1", "a/forward", "a/b c", "a/b-c", "Tensor", "top_k"]
    for bottom, name in zip(["F", *names], names, strict=False):
        text += f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
            inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}"""
    to_source(save(tmp_path, text), tmp_path / "names.py")
    source = (tmp_path / "names.py").read_text()
    assert "class Net3Names(nn.Module)" in source
    for line in ("self.linear_1(x)", "self.forward_(", "self.b_c(", "self.b_c_2(", "self.class_(F_)", "self.top_k("):
        assert line in source


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_weights_are_written_without_torch(make_net, tmp_path, monkeypatch, kind) -> None:
    pytest.importorskip("onnxruntime")
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "p" type: "InnerProduct" bottom: "x" top: "p" '
        'inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }',
        TEST,
    )
    monkeypatch.setattr("caffe_lite.export.torch_export.is_installed", lambda package: package != "torch")
    to_weights(net, tmp_path / f"w.{kind}")
    if kind == "npz":
        with np.load(tmp_path / "w.npz") as weights:
            np.testing.assert_array_equal(weights["p.weight"], net.params["p"][0].data)
