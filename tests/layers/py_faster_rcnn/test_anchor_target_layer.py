from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.layers.py_faster_rcnn.config import cfg

from ..test_proposal import NINE, overlap
from .python_net import python_net

SIZE = (9, 12)
OBJECTS = np.array([[10, 20, 120, 90, 3], [5, 4, 60, 140, 1], [100, 60, 190, 143, 2]], float)
INFO = np.array([[144, 192, 1.5]])


def deltas(box: np.ndarray, target: np.ndarray) -> list[float]:
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    target_width, target_height = target[2] - target[0] + 1, target[3] - target[1] + 1
    return [
        (target[0] + target_width / 2 - box[0] - width / 2) / width,
        (target[1] + target_height / 2 - box[1] - height / 2) / height,
        math.log(target_width / width),
        math.log(target_height / height),
    ]


def wanted(border: int) -> tuple[np.ndarray, ...]:
    """Compute the tops, place by place and anchor by anchor."""
    config = cfg.TRAIN
    places = [(i, j, k) for i in range(SIZE[0]) for j in range(SIZE[1]) for k in range(9)]
    every = {(i, j, k): np.add(NINE[k], [16 * j, 16 * i, 16 * j, 16 * i]) for i, j, k in places}
    inside = [
        place
        for place in places
        if min(every[place][:2]) >= -border and every[place][2] < 192 + border and every[place][3] < 144 + border
    ]
    found = {place: [overlap(every[place], box, 1) for box in OBJECTS] for place in inside}
    best = [max(found[place][g] for place in inside) for g in range(len(OBJECTS))]
    labels = []
    for place in inside:
        is_best = any(value == most for value, most in zip(found[place], best, strict=True))
        label = 0 if max(found[place]) < config.RPN_NEGATIVE_OVERLAP else -1
        if is_best or max(found[place]) >= config.RPN_POSITIVE_OVERLAP:
            label = 1
        if config.RPN_CLOBBER_POSITIVES and max(found[place]) < config.RPN_NEGATIVE_OVERLAP:
            label = 0
        labels.append(label)
    labels = np.array(labels)
    most = int(config.RPN_FG_FRACTION * config.RPN_BATCHSIZE)
    objects = np.where(labels == 1)[0]
    if len(objects) > most:
        labels[np.random.choice(objects, size=len(objects) - most, replace=False)] = -1
    most = config.RPN_BATCHSIZE - np.sum(labels == 1)
    background = np.where(labels == 0)[0]
    if len(background) > most:
        labels[np.random.choice(background, size=len(background) - most, replace=False)] = -1
    tops = np.full((1, 1, 9 * SIZE[0], SIZE[1]), -1.0), *np.zeros((3, 1, 36, *SIZE))
    for (i, j, k), label in zip(inside, labels, strict=True):
        tops[0][0, 0, k * SIZE[0] + i, j] = label
        target = OBJECTS[int(np.argmax(found[i, j, k]))]
        tops[1][0, 4 * k : 4 * k + 4, i, j] = deltas(every[i, j, k], target)
        weight = 1 / np.sum(labels >= 0)
        if config.RPN_POSITIVE_WEIGHT >= 0:
            share = config.RPN_POSITIVE_WEIGHT if label == 1 else 1 - config.RPN_POSITIVE_WEIGHT
            weight = share / np.sum(labels == label)
        if label == 1:
            tops[2][0, 4 * k : 4 * k + 4, i, j] = 1
        if label >= 0:
            tops[3][0, 4 * k : 4 * k + 4, i, j] = weight
    return tops


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"RPN_BATCHSIZE": 16},
        {"RPN_BATCHSIZE": 6, "RPN_POSITIVE_OVERLAP": 0.4},
        {"RPN_CLOBBER_POSITIVES": True, "RPN_NEGATIVE_OVERLAP": 0.6},
        {"RPN_POSITIVE_WEIGHT": 0.3},
    ],
)
@pytest.mark.parametrize("border", [0, 60])
def test_values(engine: str, changes: dict[str, object], border: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in changes.items():
        monkeypatch.setitem(cfg.TRAIN, name, value)
    bottoms = [np.zeros((1, 18, *SIZE)), OBJECTS, INFO, np.zeros((1, 3, 144, 192))]
    net = python_net("AnchorTargetLayer", bottoms, 4, f"{{'feat_stride': 16, 'allowed_border': {border}}}", engine)
    np.random.seed(3)
    net.forward()
    np.random.seed(3)
    for i, values in enumerate(wanted(border)):
        np.testing.assert_allclose(net.blobs[f"y{i}"].data, values, atol=1e-5, err_msg=f"top {i}")


def test_without_objects_all_is_background(engine: str) -> None:
    bottoms = [np.zeros((1, 18, *SIZE)), np.zeros((0, 5)), INFO]
    net = python_net("AnchorTargetLayer", bottoms, 4, "'feat_stride': 16", engine)
    net.forward()
    labels = net.blobs["y0"].data
    assert set(np.unique(labels)) == {-1, 0}
    assert not net.blobs["y1"].data.any() and not net.blobs["y2"].data.any()
    np.testing.assert_allclose(net.blobs["y3"].data.sum(), 4, rtol=1e-5)
