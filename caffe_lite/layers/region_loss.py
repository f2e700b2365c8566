"""RegionLoss: the loss of YOLO version 2, of the boxes that a net predicts in a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter
from .common.iou_loss import Measure, agreement, agreement_of_sizes
from .common.yolo import Truth, anchors_of, by_place, is_rows, predicted_boxes
from .common.yolo_loss import At, YoloLossLayer, near_truth, targets

_SIGMOIDS = 5  # values of a place that go through a sigmoid, but for two: x, y, w, h, objectness
_OBJECTNESS = 4


@register_layer("RegionLoss")
class RegionLossLayer(YoloLossLayer):
    """loss = 1/N (sum of d^2), where d are gradients of places, sizes, objectness and classes.

    For each place of the map and each of its A anchors, the net predicts x, y, w, h, an objectness o and C classes.
    Sigmoids of x and y are the centre's place in its cell; exp(w) and exp(h) are the size in units of the anchor. Each
    true box is found by one anchor of the cell with its centre: the one whose shape has the largest intersection over
    union with it. For this one, d = scale (prediction - truth) for x, y, w and h, d = object_scale (sigmoid(o) - the
    overlap of the predicted with the true box), and d = class_scale (softmax - truth) for the classes. Everywhere else
    d = noobject_scale sigmoid(o), or 0 where a predicted box overlaps a true one by more than thresh. d of x, y and o
    are multiplied by the sigmoid's slope. Gradient: d / N; as in the original, it is not the derivative of the loss.
    In MobileNet-YOLO's layer, scale is coord_scale; without rescore it is coord_scale (2 - area of the box), and
    d = object_scale (sigmoid(o) - 1). In Intel's, scale is coord_scale, the differences of x, y, w and h are at most 1,
    d = -2 object_scale (1 - sigmoid(o))^3 times the slope, and the loss is not divided by N.
    Bottoms: the map, (N, A (5 + C), H, W); the true boxes, (N, 1, M, 5), rows of class from 0 on, x, y, width, height,
    up to a row of zeros, as AnnotatedData makes them with yolo_data_type: 1, or (1, 1, M, 8), its other form, whose
    classes count from 1. Top: ().
    Meanings: with true boxes in rows of 5 it is MobileNet-YOLO's, with (1, 1, M, 8) Intel's.
    Reads ``region_loss_param``: num_class (20), num (5), A; biases, the width and height of each anchor in places of
    the map; thresh (0.2), coord_scale (5), object_scale (1), noobject_scale (0.5), class_scale (1), rescore (1),
    bias_match (1; 0: the predicted sizes are compared with the true one, not the anchors'). side, coords, softmax,
    jitter, absolute and random change nothing, as in the original. softmax_tree, and with rows of 8 class_map, both of
    YOLO9000, are refused.
    A net with this layer cannot be compiled, because boxes are matched on the host.
    Source: Redmon and Farhadi 2017 (YOLO9000); region_loss_layer.cpp of MobileNet-YOLO and of Intel's Caffe.
    Differences: maps need not be square; true boxes of no class, or of no size, are refused (the original writes
    outside the blob); MobileNet-YOLO's also logs averages every 10 passes.
    """

    formula = r"L = \frac{1}{N} \sum d^2, \quad \partial x = \frac{d}{N}"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.region_loss_param.num_class} classes"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.region_loss_param
        if not p.num or not p.num_class:
            self.error(f"num is {p.num} and num_class {p.num_class}", "both are 1 or more")
        self.anchors_per_place, self.classes = p.num, p.num_class
        self.anchors = anchors_of(self, p.biases, p.num)[: p.num]
        self.intel = is_rows(bottom[1].shape)
        self.shows_mean = not self.intel
        fork, columns = ("Intel", 8) if self.intel else ("MobileNet-YOLO", 5)
        self.meaning = f"{fork}'s RegionLoss, because the true boxes are rows of {columns}"
        if p.softmax_tree or (p.class_map and self.intel):
            self.error("softmax_tree or class_map is given, of YOLO9000", "remove them: each class must be on its own")

    def activate(self, maps: Array) -> np.ndarray:
        ops = self.ops
        active = ops.concat([ops.sigmoid(maps[:, :, :_SIGMOIDS]), ops.softmax(maps[:, :, _SIGMOIDS:], 2)], 2)
        values = by_place(ops.host_view(active)).copy()
        values[..., 2:4] = by_place(ops.host_view(maps))[..., 2:4]
        return values

    def compare(self, values: np.ndarray, truth: Truth, d: np.ndarray) -> float:
        p = self.p
        height, width = values.shape[2:4]
        anchors = (self.anchors / [width, height]).astype(values.dtype)
        boxes = predicted_boxes(values[..., :2], values[..., 2:4], anchors)
        objectness = values[..., _OBJECTNESS]
        away = p.noobject_scale * objectness * objectness * (1 - objectness)
        d[..., _OBJECTNESS] = np.where(near_truth(boxes, truth, p.thresh), 0, away)
        at = self._places(truth, anchors, boxes)
        found, own = values[at], truth.box
        off = found[:, :4] - targets(own, at, anchors, height, width)
        off = np.clip(off, -1, 1) if self.intel else off
        slope = found[:, :_SIGMOIDS] * (1 - found[:, :_SIGMOIDS])
        slope[:, 2:4] = 1
        scale = p.coord_scale if self.intel or p.rescore else p.coord_scale * (2 - own[:, 2:3] * own[:, 3:])
        d[..., :4][at] = scale * off * slope[:, :4]
        sure = found[:, _OBJECTNESS]
        if self.intel:
            missing = -2 * (1 - sure) ** 3
        else:
            missing = sure - (agreement(Measure.IOU, boxes[at], own) if p.rescore else 1)
        d[..., _OBJECTNESS][at] = p.object_scale * missing * slope[:, _OBJECTNESS]
        right = np.eye(self.classes, dtype=d.dtype)[truth.label]
        d[..., _SIGMOIDS:][at] = p.class_scale * (found[:, _SIGMOIDS:] - right)
        return float(np.square(d).sum())

    def _places(self, truth: Truth, anchors: np.ndarray, boxes: np.ndarray) -> At:
        """Return which prediction is to find each true box."""
        row, column = truth.cells(*boxes.shape[2:4])
        sizes = anchors if self.p.bias_match else boxes[truth.image, :, row, column, 2:]
        return truth.image, agreement_of_sizes(Measure.IOU, sizes, truth.box[:, None, 2:]).argmax(1), row, column
