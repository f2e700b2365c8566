"""DetectionGroupAccuracy: how often a region proposal network is right, and how well its boxes fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..data.boxes import paired_overlaps
from ..layer import Kind, Layer, register_layer
from .common.anchor_maps import NONE, Truth, check_maps
from .common.box_regression import Anchors, Bounds, BoxCode
from .common.loss import ignored_label


@register_layer("DetectionGroupAccuracy")
class DetectionGroupAccuracyLayer(Layer):
    """The shares of anchors, and of those with an object, whose best score is that of their label; the boxes' overlap.

    Anchors of label 0 that overlap an object by bg_threshold or more do not count. The box of an anchor is that of
    BoxGroupOutput, before it is clipped; its overlap with the object is their intersection over union. Each number is
    -1 if nothing counts for it.
    Bottoms: as for DetectionGroupLoss. Tops: (1, 1, 1, 2), the shares for all anchors and for those with an object;
    optionally (1, 1, 1, 1), the mean overlap.
    Reads ``detection_group_accuracy_param``: cls_num; field_w and field_h, the sizes of the anchors; stride; field_whr
    (2), field_xyr (4), bg_threshold (0.5), objectness (false; true counts every class as 1). Reads ``loss_param``:
    ignore_label (none), a label that does not count. Reads ``bbox_reg_param``: bbox_mean and bbox_std, four of each, or
    none for 0 and 1.
    A net with this layer cannot be compiled, because it counts on the host.
    Source: Cai and Vasconcelos 2018; detection_group_accuracy_layer.cpp of Cascade R-CNN's Caffe. Difference: boxes
    that share less than a pixel's width overlap by that part (theirs do not).
    """

    kind = Kind.LOSS
    formula = r"y = \frac{1}{n} \#\{ a : \operatorname{argmax} x_a = y_a \}"
    bottoms = (3, 3)
    tops = (1, 2)
    not_differentiable = (0, 1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_group_accuracy_param
        self.anchors = Anchors.of(self, p)
        self.code = BoxCode.of(self)
        self.bounds = Bounds.of(self, p.field_xyr, p.field_whr)
        ignore = ignored_label(self.param.loss_param)
        self.ignore = NONE if ignore is None else ignore

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_group_accuracy_param
        check_maps(self, bottom, p.cls_num, p.objectness, self.anchors)
        top[0].Reshape((1, 1, 1, 2))
        if len(top) > 1:
            top[1].Reshape((1, 1, 1, 1))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, p = self.ops, self.param.detection_group_accuracy_param
        if ops.tracer is not None:
            raise NotImplementedError("what counts is chosen on the host")
        scores, deltas, values = (ops.host_view(blob.data) for blob in bottom)
        truth = Truth.of(values)
        classes = np.minimum(truth.labels, 1) if p.objectness else truth.labels
        between = (classes == 0) & (truth.overlap >= truth.overlap.dtype.type(p.bg_threshold))
        counts = (classes != self.ignore) & ~between
        right = scores.argmax(1) == classes
        shares = [_mean(right[counts]), _mean(right[counts & (classes != 0)])]
        top[0].data = ops.asarray(np.array(shares).reshape(1, 1, 1, 2))
        if len(top) > 1:
            objects = (truth.labels != 0) & (truth.labels != self.ignore)
            overlap = _mean(self._overlaps(objects, deltas, truth.boxes))
            top[1].data = ops.asarray(np.full((1, 1, 1, 1), overlap))

    def _overlaps(self, objects: np.ndarray, deltas: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return how much the box of each anchor with an object overlaps it."""
        image, row, column = np.nonzero(objects)
        anchors = self.anchors.at(image % len(self.anchors), row, column)
        found = self.code.decode(anchors, deltas[image, :, row, column], self.bounds)
        centre, size = np.split(boxes[image, :, row, column], 2, 1)
        return paired_overlaps(found, np.concatenate([centre - size / 2, centre + size / 2 - 1], 1), inclusive=True)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("accuracy has no gradient", "train with a loss such as DetectionGroupLoss")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else -1.0
