"""configs/: every net builds in its three states and has the size given in its paper; every solver trains its net."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.proto.caffe_pb2 import LayerParameter, NetParameter
from caffe_lite.proto.prototxt import read_net, read_solver
from caffe_lite.solvers.learning_rate import check_policy, learning_rate

CONFIGS = Path(__file__).parents[1] / "configs"
# These give no single answer for an image: see tests/configs.
OTHERS = {"enet_tiny", "faster_rcnn_tiny", "fcn8s", "lrcn", "ssd_tiny", "yolo_tiny"}
NAMES = sorted({path.parent.name for path in CONFIGS.glob("*/net.prototxt")} - OTHERS)
DEPLOY = ("deploy",)
HEAVY = ("alexnet", "caffenet", "googlenet", "resnet50", "vgg16")
HEAVY_ARE_SLOW = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in NAMES]

# The learned parameters of each net, and the blob before its linear layer or, in SqueezeNet, its average; or its code.
SIZES = {
    "lenet": (431_080, "pool2", (50, 4, 4)),
    "cifar10_quick": (145_578, "pool3", (64, 4, 4)),
    "cifar10_full": (89_578, "pool3", (64, 4, 4)),
    "mnist_autoencoder": (2_837_314, "encode4", (30,)),
    "mnist_siamese": (431_102, "ip2", (10,)),
    "caffenet": (60_965_224, "pool5", (256, 6, 6)),
    "alexnet": (60_965_224, "pool5", (256, 6, 6)),
    "vgg16": (138_357_544, "pool5", (512, 7, 7)),
    "googlenet": (6_998_552, "pool5/7x7_s1", (1024, 1, 1)),
    "resnet50": (25_557_032, "res5c", (2048, 7, 7)),
    "squeezenet": (1_235_496, "conv10", (1000, 14, 14)),
    "mobilenet": (4_231_976, "pool6", (1024, 1, 1)),
}
# GoogLeNet's auxiliary classifiers, only in training: each has a 1x1 convolution to 128 maps and two linear layers.
AUXILIARY = sum(c * 128 + 128 + 128 * 4 * 4 * 1024 + 1024 + 1024 * 1000 + 1000 for c in (512, 528))
# The output of deploy, and its shape for one image; the default is prob with a probability for each class.
DEPLOYED = {"mnist_autoencoder": ("decode1neuron", (784,)), "mnist_siamese": ("feat", (2,))}
# Losses with weights other than 1, and losses that are not called loss.
LOSSES = {
    "googlenet": {"loss3/loss3": 1, "loss1/loss1": 0.3, "loss2/loss2": 0.3},
    "mnist_autoencoder": {"cross_entropy_loss": 1},
}
# Biases that move both points of a pair equally, so that no distance changes.
IDLE = {"mnist_siamese": {("ip2", 1), ("feat", 1)}}
TEST_IMAGES = {"lenet": 1_000, "cifar10_quick": 10_000, "cifar10_full": 10_000, "mnist_autoencoder": 1_000}
TEST_IMAGES |= {"mnist_siamese": 1_000, "fcn8s": 1_449, "lrcn": 472 * 8 * 16, "ssd_tiny": 500, "faster_rcnn_tiny": 500}
TEST_IMAGES |= {"yolo_tiny": 500, "enet_tiny": 100}
IMAGENET_TEST_IMAGES = 50_000


def config(name: str) -> NetParameter:
    return read_net(CONFIGS / name / "net.prototxt").message


def data_layers(name: str) -> list[LayerParameter]:
    return [layer for layer in config(name).layer if layer.type in ("Data", "AnnotatedData", "DenseImageData")]


def deployed_shape(name: str) -> list[int]:
    (layer,) = (layer for layer in config(name).layer if layer.type == "Input")
    return list(layer.input_param.shape[0].dim)


def without_data(name: str, phase: int, batch: int, stages: tuple[str, ...] = (), filled: bool = True) -> Net:
    """Return the net with noise of class 0 instead of databases; unless filled, weights are zero, which is faster."""
    param = config(name)
    for layer in param.layer:
        if layer.type == "Data":
            layer.type = "DummyData"
            layer.ClearField("transform_param")
            layer.dummy_data_param.shape.add(dim=[batch, *deployed_shape(name)[1:]])
            layer.dummy_data_param.data_filler.add(type="gaussian", std=1)
            if len(layer.top) > 1:
                layer.dummy_data_param.shape.add(dim=[batch])
                layer.dummy_data_param.data_filler.add(type="constant", value=0)
        for weights in ("convolution_param", "inner_product_param") if not filled else ():
            if layer.HasField(weights):
                getattr(layer, weights).ClearField("weight_filler")
    return Net(param, phase, stages=stages, seed=1)


def learned(net: Net) -> int:
    return sum(param.blob.count for param in net.learnable_params if param.lr_mult)


def classes(name: str) -> int:
    return 10 if name in TEST_IMAGES else 1000


@pytest.mark.parametrize("name", NAMES)
def test_deploy(name):
    net = without_data(name, TEST, 1, DEPLOY, filled=False)
    parameters, blob, shape = SIZES[name]
    batch = deployed_shape(name)[0]
    output, values = DEPLOYED.get(name, ("prob", (classes(name),)))
    assert net.inputs == ["data"] and net.outputs == [output]
    assert learned(net) == parameters
    assert net.blobs[blob].data.shape == (batch, *shape)
    shape = net.blobs[output].data.shape
    assert shape[:2] == (batch, *values) and set(shape[2:]) <= {1}
    # The numbers in the texts that people read.
    assert f"{parameters:,}" in " ".join(
        (CONFIGS / name / "net.prototxt").read_text(encoding="utf-8").replace("#", "").split()
    )
    if name not in TEST_IMAGES:
        readme = (CONFIGS / name / "README.md").read_text(encoding="utf-8")
        assert f"{parameters:,}" in readme
        assert f"{sum(map(multiply_adds, net.nodes)) // batch:,} per image" in readme


@pytest.mark.parametrize("name", NAMES)
def test_training_and_testing_have_the_parameters_of_deploy(name):
    shapes, twins = [], "_p" if name == "mnist_siamese" else ()
    for phase, stages in ((TRAIN, ()), (TEST, ()), (TEST, DEPLOY)):
        net = without_data(name, phase, 2, stages, filled=False)
        layers = {layer: blobs for layer, blobs in net.params.items() if not layer.endswith(twins)}
        shapes.append({layer: [blob.data.shape for blob in blobs] for layer, blobs in layers.items()})
        if phase == TRAIN:
            assert learned(net) == SIZES[name][0] + (AUXILIARY if name == "googlenet" else 0)
            losses = {blob: weight for blob, weight in net.blob_loss_weights.items() if weight}
            assert losses == pytest.approx(LOSSES.get(name, {"loss": 1}))
            assert set(losses) <= set(net.outputs)
        elif not stages and name not in DEPLOYED:
            accuracies = [node.layer.param.accuracy_param.top_k for node in net.nodes if node.layer.type == "Accuracy"]
            assert accuracies == ([1] if name in TEST_IMAGES else [1, 5])
    train, test, deploy = shapes
    assert test == deploy
    assert list(deploy) == [layer for layer in train if not layer.startswith(("loss1/", "loss2/"))]
    assert deploy.items() <= train.items()


def test_googlenet_with_its_auxiliary_classifiers():
    assert SIZES["googlenet"][0] + AUXILIARY == 13_378_280


@pytest.mark.parametrize("name", HEAVY_ARE_SLOW)
def test_the_gradient_reaches_every_parameter(name):
    net = without_data(name, TRAIN, 2 if name == "mnist_siamese" else 1)
    net.forward()
    net.backward()
    losses = [net.blobs[blob].data for blob in net.outputs]
    # Untrained weights have about the loss of a guess.
    assert np.isfinite(losses).all()
    if name not in DEPLOYED:
        assert all(0.2 * log(classes(name)) < loss < 3 * log(classes(name)) for loss in losses), losses
    for param in net.learnable_params:
        if param.lr_mult and (param.owner.name, param.index) not in IDLE.get(name, ()):
            diff = param.blob.ops.host_view(param.blob.diff)
            assert np.isfinite(diff).all() and diff.any(), (param.owner.name, param.index)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TEST_IMAGES])
def test_images_are_cropped_to_what_deploy_takes(name):
    train, test = data_layers(name)
    for layer in (train, test):
        crop = layer.transform_param.crop_size
        assert [3, crop, crop] == deployed_shape(name)[1:]
        assert list(layer.transform_param.mean_value) == [104, 117, 123]
    assert train.transform_param.mirror and not test.transform_param.mirror


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*solver.prototxt")), ids=lambda path: path.parent.name)
def test_a_solver_trains_the_net_beside_it(path):
    solver = read_solver(path).message
    name = path.parent.name
    assert solver.net == f"configs/{name}/net.prototxt"
    assert solver.snapshot_prefix == f"configs/{name}/{name}"
    check_policy(solver)
    assert learning_rate(solver, 0, 0) == pytest.approx(solver.base_lr)
    assert list(solver.stepvalue) == sorted(solver.stepvalue)
    assert all(step < solver.max_iter for step in solver.stepvalue)
    *_, test = data_layers(name)
    batch_size = test.data_param.batch_size or test.dense_image_data_param.batch_size
    assert sum(solver.test_iter) * batch_size == TEST_IMAGES.get(name, IMAGENET_TEST_IMAGES)


def test_every_net_has_a_solver():
    assert sorted(SIZES) == NAMES
    assert sorted([*NAMES, *OTHERS]) == sorted(path.parent.name for path in CONFIGS.glob("*/solver.prototxt"))
