from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError
from caffe_lite.layers.py_faster_rcnn.config import cfg

from ..test_proposal import overlap
from .python_net import python_net
from .test_anchor_target_layer import OBJECTS, deltas


def regions(count: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    near = OBJECTS[rng.integers(0, 3, count), :4] + rng.normal(0, 25, (count, 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 3)
    return np.insert(near, 0, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "changes",
    [{}, {"BATCH_SIZE": 20}, {"BATCH_SIZE": 9, "BG_THRESH_LO": 0.0, "BBOX_NORMALIZE_TARGETS_PRECOMPUTED": True}],
)
def test_values(engine: str, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in changes.items():
        monkeypatch.setitem(cfg.TRAIN, name, value)
    config, given = cfg.TRAIN, regions(60)
    net = python_net("ProposalTargetLayer", [given, OBJECTS], 5, "'num_classes': 4", engine)
    np.random.seed(7)
    net.forward()
    np.random.seed(7)
    every = [*given, *np.insert(OBJECTS[:, :4], 0, 0, 1)]
    found = np.array([[overlap(box[1:].astype(float), target, 1) for target in OBJECTS] for box in every])
    best = found.max(1)
    objects = np.where(best >= config.FG_THRESH)[0]
    most = min(round(config.FG_FRACTION * config.BATCH_SIZE), len(objects))
    objects = np.random.choice(objects, size=most, replace=False)
    background = np.where((best < config.BG_THRESH_HI) & (best >= config.BG_THRESH_LO))[0]
    background = np.random.choice(background, size=min(config.BATCH_SIZE - most, len(background)), replace=False)
    count = len(objects) + len(background)
    drawn, labels, targets, weights, outer = (net.blobs[f"y{i}"].data for i in range(5))
    assert drawn.shape == (count, 5) and labels.shape == (count,)
    for row, index in enumerate([*objects, *background]):
        np.testing.assert_array_equal(drawn[row], every[index].astype(np.float32))
        target = OBJECTS[found[index].argmax()]
        label = int(target[4]) if row < most else 0
        assert labels[row] == label
        wanted, weight = np.zeros((2, 4, 4))
        if label:
            weight[label] = 1
            wanted[label] = deltas(every[index][1:], target)
            if config.BBOX_NORMALIZE_TARGETS_PRECOMPUTED:
                wanted[label] /= [0.1, 0.1, 0.2, 0.2]
        np.testing.assert_allclose(targets[row], wanted.ravel(), atol=1e-4)
        np.testing.assert_array_equal(weights[row], weight.ravel())
        np.testing.assert_array_equal(outer[row], weight.ravel())


def test_without_objects_all_is_background(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cfg.TRAIN, "BG_THRESH_LO", 0.0)
    net = python_net("ProposalTargetLayer", [regions(9), np.zeros((0, 5))], 5, "'num_classes': 4", engine)
    net.forward()
    assert net.blobs["y0"].shape == (9, 5)
    assert not any(net.blobs[f"y{i}"].data.any() for i in range(1, 5))


def test_other_images(engine: str) -> None:
    given = regions(3)
    given[1, 0] = 1
    net = python_net("ProposalTargetLayer", [given, OBJECTS], 5, "'num_classes': 4", engine)
    with pytest.raises(LayerError, match="there are regions of other images than 0"):
        net.forward()
