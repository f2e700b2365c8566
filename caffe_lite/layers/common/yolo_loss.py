"""The base class of YOLO's losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...blobs import Blob
from ...data.boxes import corners, overlaps
from ...ops.array import Array
from .iou_loss import Measure, agreement
from .loss import LossLayer
from .yolo import Truth, check_maps, check_truth, read_truth

At = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # image, anchor, row and column of predictions


class YoloLossLayer(LossLayer):
    """A loss of maps that predict boxes, whose gradient is made of differences: it is not that of the loss it shows.

    A subclass sets ``anchors_per_place``, ``coordinates`` and ``classes`` in Setup. The gradient is divided by the
    number of images; ``shows_mean``: so is the loss.
    """

    anchors_per_place: int
    coordinates = 4
    classes: int
    shows_mean = True

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.shape = check_maps(self, bottom[0], self.anchors_per_place, self.coordinates + 1 + self.classes)
        check_truth(self, bottom[1], self.shape[0])
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, labels = self.ops, bottom[1]
        values = self.activate(ops.reshape(bottom[0].data, self.shape))
        truth = read_truth(self, labels.shape, ops.host_view(labels.data), self.shape[0], self.classes)
        d = np.zeros_like(values)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            loss = self.compare(values, truth, d)
        self.saved.gradient = ops.asarray(np.moveaxis(d, 4, 2))
        self.saved.divisor = self.sized_divisor(self.shape[0])
        top[0].data = ops.scalar(loss / (self.saved.divisor if self.shows_mean else self.fixed_divisor(1)))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if propagate_down[0]:
            dx = self.saved.gradient * (top[0].diff / self.saved.divisor)
            bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)

    def activate(self, maps: Array) -> np.ndarray:
        """Return the predictions (N, A, H, W, values) of maps (N, A, values, H, W), in memory of their own."""
        raise NotImplementedError

    def compare(self, values: np.ndarray, truth: Truth, d: np.ndarray) -> float:
        """Write the gradient of the sum of losses by the predictions into d, which is 0, and return that sum."""
        raise NotImplementedError


def near_truth(boxes: np.ndarray, truth: Truth, threshold: float, measure: Measure = Measure.IOU) -> np.ndarray:
    """Return which of the boxes (N, A, H, W, 4) agree with a true box of their image by more than the threshold."""
    near = np.zeros(boxes.shape[:4], bool)
    for image in np.unique(truth.image):
        own, predicted = truth.box[truth.image == image], boxes[image].reshape(-1, 4)
        if measure is Measure.IOU:
            shared = overlaps(corners(predicted), corners(own))
        else:
            shared = agreement(measure, predicted[:, None], own)
        near[image] = (shared.max(1) > threshold).reshape(near.shape[1:])
    return near


def targets(own: np.ndarray, at: At, anchors: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the x, y, w and h (M, 4) that give true boxes (M, 4) at these places of a map with anchors (A, 2)."""
    cells = np.stack([at[3], at[2]], 1).astype(own.dtype)
    offsets = own[:, :2] * np.array([width, height], own.dtype) - cells
    return np.concatenate([offsets, np.log(own[:, 2:] / anchors[at[1]])], 1)
