"""FCN-8s: a score for every pixel of an image of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.prototxt import read_net

FOLDER = Path(__file__).parents[2] / "configs" / "fcn8s"
LEARNED = 134_362_751


def config(shrunk: int = 1) -> NetParameter:
    """Return the net with noise instead of databases; fewer maps if shrunk, otherwise weights of zero."""
    param = read_net(FOLDER / "net.prototxt").message
    for layer in param.layer:
        p = layer.convolution_param
        if layer.type == "Convolution" and shrunk == 1:
            p.ClearField("weight_filler")
        elif layer.type == "Convolution":
            p.num_output = p.num_output if p.num_output == 21 else p.num_output // shrunk
            if p.num_output == 21:
                p.weight_filler.type = "xavier"
        if layer.type == "Data":
            layer.type = "DummyData"
            images = list(layer.top) == ["data"]
            layer.dummy_data_param.shape.add(dim=[1, 3 if images else 1, 37, 50])
            layer.dummy_data_param.data_filler.add(type="gaussian" if images else "constant", std=1, value=7)
    return param


@pytest.mark.slow
def test_deploy() -> None:
    net = Net(config(), TEST, stages=["deploy"])
    assert net.inputs == ["data"] and net.outputs == ["prob"]
    assert net.blobs["prob"].shape == (1, 21, 500, 500)
    assert net.blobs["fc6"].shape == (1, 4096, 16, 16)
    assert sum(param.blob.count for param in net.learnable_params if param.lr_mult) == LEARNED
    fixed = sum(param.blob.count for param in net.learnable_params if not param.lr_mult)
    for file in ("net.prototxt", "README.md"):
        assert f"{LEARNED:,}" in (FOLDER / file).read_text(encoding="utf-8")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{fixed:,} weights" in readme and f"{sum(map(multiply_adds, net.nodes)):,} for an image" in readme


@pytest.mark.parametrize("size", [(1, 1), (37, 50), (224, 224), (375, 500), (501, 333)])
def test_there_is_a_score_for_every_pixel(size: tuple[int, int]) -> None:
    net = Net(config(shrunk=16), TEST, stages=["deploy"])
    net.blobs["data"].reshape(1, 3, *size)
    net.reshape()
    assert net.blobs["prob"].shape == (1, 21, *size)


def test_scores_lie_where_their_pixels_are(engine: str) -> None:
    """If an image is zero except in its lower right quarter, the scores differ from a black image's mostly there."""
    net = Net(config(shrunk=16), TEST, stages=["deploy"], engine=engine, seed=1)
    net.blobs["data"].reshape(1, 3, 128, 128)
    net.blobs["data"].data[...] = 0
    black = net.forward(["score"])["score"].copy()
    net.blobs["data"].data[:, :, 64:, 64:] = np.random.default_rng(0).normal(0, 60, (1, 3, 64, 64))
    change = np.abs(net.forward(["score"])["score"] - black).sum((0, 1))
    quarters = [part.sum() for half in np.split(change, 2) for part in np.split(half, 2, axis=1)]
    assert quarters[3] > max(quarters[:3])
    rows, columns = np.mgrid[:128, :128]
    centre = [(change * place).sum() / change.sum() for place in (rows, columns)]
    assert all(64 < place < 112 for place in centre)


def test_the_gradient_reaches_every_parameter(engine: str) -> None:
    net = Net(config(shrunk=16), TRAIN, engine=engine, seed=1)
    assert net.blob_loss_weights["loss"] == 1 and net.outputs == ["loss"]
    net.forward()
    net.backward()
    assert net.blobs["loss"].data == pytest.approx(37 * 50 * np.log(21), rel=0.3)
    for param in net.learnable_params:
        diff = param.blob.ops.host_view(param.blob.diff)
        assert np.isfinite(diff).all() and diff.any() == bool(param.lr_mult), (param.owner.name, param.index)


def test_ignored_pixels_and_accuracy(engine: str) -> None:
    param = config(shrunk=16)
    for layer in param.layer:
        if list(layer.top) == ["label"]:
            layer.dummy_data_param.data_filler[0].value = 255
    train, test = (Net(param, phase, engine=engine, seed=1) for phase in (TRAIN, TEST))
    assert train.forward()["loss"] == 0
    assert set(test.outputs) == {"accuracy", "loss"}


@pytest.mark.slow
def test_layers_of_vgg16_fit() -> None:
    """The layers have as many values under the same names, so VGG-16's weights can be copied."""
    vgg = read_net(FOLDER.parent / "vgg16" / "net.prototxt").message
    for layer in vgg.layer:
        if layer.type in ("Convolution", "InnerProduct"):
            layer.convolution_param.ClearField("weight_filler")
            layer.inner_product_param.ClearField("weight_filler")
    source, target = Net(vgg, TEST, stages=["deploy"]), Net(config(), TEST, stages=["deploy"])
    shared = source.params.keys() & target.params.keys()
    assert shared == source.params.keys() - {"fc8"}
    for name in shared:
        assert [blob.count for blob in source.params[name]] == [blob.count for blob in target.params[name]]
