"""The bottoms of layers that compare a region proposal network's maps with what its anchors should say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...blobs import Blob
from ...layer import Layer
from .box_regression import Anchors
from .indices import first_wrong

NONE = np.iinfo(np.int64).min  # a label that no anchor has


class Truth(NamedTuple):
    """What the anchors of a map should say, as DetectionData delivers it: for each anchor, (N G, H, W)."""

    labels: np.ndarray  # whole numbers; 0 for background
    boxes: np.ndarray  # (N G, 4, H, W): centre x, y, width, height of the object
    overlap: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Truth:
        return cls(np.trunc(values[:, 0]).astype(np.int64), values[:, 1:5], values[:, 5])


def check_maps(layer: Layer, bottom: Sequence[Blob], classes: int, objectness: bool, anchors: Anchors) -> None:
    """Refuse bottoms other than scores (N G, K, H, W), deltas (N G, 4, H, W) and truth (N G, 6, H, W)."""
    if not classes:
        layer.error("there is no cls_num", "count the classes, and the background as one of them")
    if objectness and classes != 2:
        layer.error(f"objectness is set, and cls_num is {classes}", "set cls_num to 2: background and object")
    for blob, channels, what in zip(bottom, (classes, 4, 6), ("scores", "deltas", "truth"), strict=True):
        shape = blob.shape
        if len(shape) != 4 or shape[1] != channels:
            layer.error(f"the shape of the {what} is {shape}", f"give (N G, {channels}, H, W)")
        if (shape[0], *shape[2:]) != (bottom[0].shape[0], *bottom[0].shape[2:]):
            layer.error(f"the scores {bottom[0].shape} and the {what} {shape} differ", "give maps of one size")
    if bottom[0].shape[0] % len(anchors):
        layer.error(
            f"the bottom {bottom[0].shape} does not divide into {len(anchors)} anchors for each image",
            "reshape it so that its first axis is the number of images times that of anchors",
        )


def check_classes(layer: Layer, labels: np.ndarray, counts: np.ndarray, classes: int) -> None:
    """Refuse labels, of those that count, that are no classes. The original dies."""
    good = ~counts | ((labels >= 0) & (labels < classes))
    if not good.all():
        at, place = first_wrong(good)
        layer.error(f"label {labels[at]}{place} is none of the classes 0 to {classes - 1}", "correct it, or cls_num")
