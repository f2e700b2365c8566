"""Nets of detectors for the benchmarks, made by a NetSpec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_lite import layers as L
from caffe_lite.model_libs import ConvBNLayer, CreateMultiBoxHead, VGGNetBody
from caffe_lite.net_spec import NetSpec
from caffe_lite.proto.caffe_pb2 import TRAIN, NetParameter

CLASSES = 21

# MobileNet-SSD: the channels and the stride of its pairs of a depthwise and a 1x1 convolution; the channels of the
# pairs of a 1x1 and a strided 3x3 convolution after them; the priors at each place of the maps that predict.
PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
PRIORS = {"conv11": 3, "conv13": 6, "conv14_2": 6, "conv15_2": 6, "conv16_2": 6, "conv17_2": 6}

# What SSD keeps.
DETECTION = {
    "num_classes": CLASSES,
    "share_location": True,
    "background_label_id": 0,
    "nms_param": {"nms_threshold": 0.45, "top_k": 400},
    "code_type": 2,  # CENTER_SIZE
    "keep_top_k": 200,
    "confidence_threshold": 0.01,
}


PRIOR_COUNT = 1917  # in an image of 300 x 300


def targets(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    """Return a class for each prior, for most of them the background, and the place that it is to predict."""
    classes = rng.integers(0, CLASSES, (batch, PRIOR_COUNT))
    return {
        "label": np.where(rng.random(classes.shape) < 0.02, classes, 0),
        "target": rng.standard_normal((batch, 4 * PRIOR_COUNT), dtype=np.float32),
    }


def mobilenet_ssd(images: Sequence[int]) -> NetParameter:
    """Make chuanqi305's MobileNet-SSD for training on a batch of this shape, with ``targets`` in place of matching."""
    net = NetSpec()
    net.data = L.Input(shape={"dim": images})
    net.label = L.Input(shape={"dim": [images[0], PRIOR_COUNT]})
    net.target = L.Input(shape={"dim": [images[0], 4 * PRIOR_COUNT]})
    top = _normalised(net, "data", "conv0", 32, kernel_size=3, pad=1, stride=2)
    channels = 32
    for number, (outputs, stride) in enumerate(PAIRS, 1):
        top = _normalised(net, top, f"conv{number}/dw", channels, kernel_size=3, pad=1, stride=stride, group=channels)
        top = _normalised(net, top, f"conv{number}", outputs, kernel_size=1)
        channels = outputs
    for number, (least, most) in enumerate(EXTRAS, 14):
        top = _normalised(net, top, f"conv{number}_1", least, kernel_size=1)
        top = _normalised(net, top, f"conv{number}_2", most, kernel_size=3, pad=1, stride=2)
    flat: dict[str, list[Any]] = {"loc": [], "conf": []}
    for source, count in PRIORS.items():
        for kind, outputs in (("loc", 4 * count), ("conf", CLASSES * count)):
            name = f"{source}_mbox_{kind}"
            net[name] = L.Convolution(net[source], num_output=outputs, kernel_size=1, weight_filler={"type": "msra"})
            net[f"{name}_perm"] = L.Permute(net[name], order=[0, 2, 3, 1])
            net[f"{name}_flat"] = L.Flatten(net[f"{name}_perm"], axis=1)
            flat[kind].append(net[f"{name}_flat"])
    net.mbox_loc = L.Concat(*flat["loc"], axis=1)
    net.mbox_conf = L.Concat(*flat["conf"], axis=1)
    net.scores = L.Reshape(net.mbox_conf, shape={"dim": [0, -1, CLASSES]})
    net.conf_loss = L.SoftmaxWithLoss(net.scores, net.label, softmax_param={"axis": 2})
    net.loc_loss = L.SmoothL1Loss(net.mbox_loc, net.target)
    param = net.to_proto()
    param.state.phase = TRAIN
    return param


def _normalised(net: NetSpec, bottom: str, name: str, num_output: int, **window: int) -> str:
    """Add a convolution and, in place, its BatchNorm, Scale and ReLU."""
    net[name] = L.Convolution(
        net[bottom], num_output=num_output, bias_term=False, weight_filler={"type": "msra"}, **window
    )
    net[f"{name}/bn"] = L.BatchNorm(net[name], in_place=True)
    net[f"{name}/scale"] = L.Scale(net[f"{name}/bn"], in_place=True, bias_term=True)
    net[f"{name}/relu"] = L.ReLU(net[f"{name}/scale"], in_place=True)
    return name


def ssd300() -> NetParameter:
    """Make SSD of Liu et al. 2016 on VGG-16, for one image of 300 x 300 in TEST, as its script ssd_pascal.py does."""
    net = NetSpec()
    net.data = L.Input(shape={"dim": [1, 3, 300, 300]})
    VGGNetBody(net, "data", fully_conv=True, reduced=True, dilated=True, dropout=False)
    top = "relu7"
    for number, (least, most, stride) in enumerate(((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1)), 6):
        for name, outputs, kernel, pad, step in (("1", least, 1, 0, 1), ("2", most, 3, stride - 1, stride)):
            ConvBNLayer(net, top, f"conv{number}_{name}", False, True, outputs, kernel, pad, step)
            top = f"conv{number}_{name}"
    least_sizes = [30, 60, 111, 162, 213, 264]
    loc, conf, priors = CreateMultiBoxHead(
        net,
        num_classes=CLASSES,
        from_layers=["conv4_3", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2"],
        normalizations=[20, -1, -1, -1, -1, -1],
        use_batchnorm=False,
        min_sizes=least_sizes,
        max_sizes=[*least_sizes[1:], 315],
        aspect_ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        steps=[8, 16, 32, 64, 100, 300],
        prior_variance=[0.1, 0.1, 0.2, 0.2],
        clip=False,
        kernel_size=3,
        pad=1,
    )
    net.scores = L.Reshape(conf, shape={"dim": [0, -1, CLASSES]})
    net.probabilities = L.Softmax(net.scores, axis=2)
    net.detection_out = L.DetectionOutput(
        *(loc, L.Flatten(net.probabilities, axis=1), priors), detection_output_param=DETECTION
    )
    return net.to_proto()
