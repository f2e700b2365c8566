"""Yolov3: the loss of YOLO version 3, of the boxes that a net predicts in a map of one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter, Yolov3Parameter
from .common.iou_loss import Measure, agreement, agreement_of_sizes, slopes
from .common.yolo import Truth, anchors_of, by_place, predicted_boxes
from .common.yolo_loss import At, YoloLossLayer, near_truth, targets

_FOCAL = 0.5  # the factor of the focal weight


@register_layer("Yolov3")
class Yolov3Layer(YoloLossLayer):
    """loss = 1/N (sum of d^2), where d are differences of places, sizes, objectness and classes from what is true.

    For each place of the map and each of its A anchors, the net predicts x, y, w, h, an objectness o and C classes.
    Sigmoids of x and y are the centre's place in its cell; exp(w) and exp(h) are the size in units of the anchor.
    Each true box gets the anchor whose shape agrees best with it, of all anchors, and the others that agree by more
    than iou_thresh; those in mask are predictions of the cell with the box's centre that are to find it. For these,
    d = coord_scale (2 - area of the box) (prediction - truth) for x, y, w and h, d = sigmoid(o) - 1, and
    d = class_scale (sigmoid(class) - target) for the classes, where the target is 1 - eps/2 for the box's class and
    eps/2 for the others. Everywhere else d = sigmoid(o), or 0 where a predicted box agrees by more than thresh with a
    true one. How boxes agree is the intersection over union; or what iou_loss says: IOU, GIOU, DIOU or CIOU. Then d of
    x, y, w and h are iou_normalizer times derivatives of that, with the sign changed and at most max_delta, and the
    loss has iou_normalizer times the mean of 1 - agreement (of DIOU for IOU) in the place of their squares.
    Gradient: d / N, times the slope of the sigmoids with use_logic_gradient. As in the original, it is not the
    derivative of the loss that the top shows.
    Bottoms: the map, (N, A (5 + C), H, W); the true boxes, (N, 1, M, 5), rows of class from 0 on, x, y, width, height,
    up to a row of zeros, as AnnotatedData makes them with yolo_data_type: 1; or its other form, (1, 1, M, 8), whose
    classes count from 1. Top: ().
    Reads ``yolov3_param``: num_class (20), num (5), A; biases, width and height of each anchor in pixels; mask, the
    numbers of the A anchors of this map; anchors_scale (32), how many pixels a place of the map stands for; thresh
    (0.2), coord_scale (5), class_scale (1), object_scale (1): a factor of sigmoid(o) - 1, with use_logic_gradient only;
    use_logic_gradient (false), use_focal_loss (false: true multiplies d of the classes by a focal weight, and smooths
    nothing), label_smooth_eps (0.1), iou_loss (MSE), iou_normalizer (0.25), iou_thresh (0.5; 1: only the best anchor),
    max_delta (10), accumulate (true: where several true boxes have one prediction, the derivatives of iou_loss are
    added; false: the last one counts). side and noobject_scale change nothing, as in the original.
    A net with this layer cannot be compiled, because boxes are matched on the host.
    Source: Redmon and Farhadi 2018 (YOLOv3), Rezatofighi et al. 2019 (GIoU), Zheng et al. 2020 (DIoU, CIoU);
    yolov3_layer.cpp of MobileNet-YOLO. Differences: an anchor that got a true box as its best does not get the box
    again (the original compares the anchor's number with its place in mask, so that it passes over another anchor, or
    counts derivatives of iou_loss twice); with use_logic_gradient and iou_loss, the slope at x and y is that of the
    sigmoids (the original takes it at x and y themselves); true boxes of no class, or of no size, are refused (the
    original writes outside the blob); the original also logs averages every 16 passes.
    """

    formula = r"L = \frac{1}{N} \sum d^2, \quad \partial x = \frac{d}{N}"
    offsets, sizes = slice(0, 2), slice(2, 4)  # where they are among a place's values

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.yolov3_param.num_class} classes"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.yolov3_param
        if not p.num or not p.num_class:
            self.error(f"num is {p.num} and num_class {p.num_class}", "both are 1 or more")
        self.anchors = anchors_of(self, p.biases)
        if len(p.mask) < p.num or max(p.mask) >= len(self.anchors):
            self.error(
                f"mask has {len(p.mask)} numbers, up to {max(p.mask, default=0)}, for {len(self.anchors)} anchors",
                f"give as many as num says, {p.num}; anchors count from 0",
            )
        self.anchors_per_place, self.classes = p.num, p.num_class
        self.mask = list(p.mask[: p.num])
        self.squares = p.iou_loss == Yolov3Parameter.MSE
        self.measure: Measure = Measure.IOU if self.squares else Measure(p.iou_loss)
        self.smoothing = p.label_smooth_eps
        self.counted: Measure = Measure.DIOU if self.measure is Measure.IOU else self.measure

    def activate(self, maps: Array) -> np.ndarray:
        values = by_place(self.ops.host_view(self.ops.sigmoid(maps))).copy()
        values[..., self.sizes] = by_place(self.ops.host_view(maps))[..., self.sizes]
        return values

    def compare(self, values: np.ndarray, truth: Truth, d: np.ndarray) -> float:
        p, objectness = self.p, self.coordinates
        height, width = values.shape[2:4]
        anchors = (self.anchors / (p.anchors_scale * np.array([width, height]))).astype(values.dtype)
        boxes = predicted_boxes(values[..., self.offsets], values[..., self.sizes], anchors[self.mask])
        d[..., objectness] = np.where(near_truth(boxes, truth, p.thresh, self.measure), 0, values[..., objectness])
        at, number = self._pairs(truth, anchors, height, width)
        own, predictions = truth.box[number], values[at]
        target = targets(own, at, anchors[self.mask], height, width)
        self._compare_boxes(d, at, predictions, boxes[at], own, target)
        factor = p.object_scale if p.use_logic_gradient else 1
        d[(*at, objectness)] = factor * (predictions[:, objectness] - 1)
        self._compare_classes(d[..., objectness + 1 :], at, predictions[:, objectness + 1 :], truth.label[number])
        loss = float(np.square(d if self.squares else d[..., objectness:]).sum())
        if not self.squares:
            pairs = self.total_number(len(number))
            if len(number):
                mean = float((1 - agreement(self.counted, boxes[at], own)).mean())
                loss += p.iou_normalizer * mean * (len(number) / pairs)
        if p.use_logic_gradient:
            slope = values * (1 - values)
            slope[..., self.sizes] = 1
            d *= slope
        return loss

    def _pairs(self, truth: Truth, anchors: np.ndarray, height: int, width: int) -> tuple[At, np.ndarray]:
        """Return which predictions are to find which true boxes, in the order of these."""
        alike = agreement_of_sizes(self.measure, anchors, truth.box[:, None, 2:])
        chosen = alike > self.p.iou_thresh if self.p.iou_thresh < 1 else np.zeros(alike.shape, bool)
        chosen[np.arange(len(alike)), alike.argmax(1)] = alike.max(1) > 0
        number, anchor = np.nonzero(chosen[:, self.mask])
        row, column = truth.cells(height, width)
        return (truth.image[number], anchor, row[number], column[number]), number

    def _compare_boxes(
        self, d: np.ndarray, at: At, predictions: np.ndarray, boxes: np.ndarray, own: np.ndarray, target: np.ndarray
    ) -> None:
        """Write the differences of the M chosen boxes (M, 4) from the true ones into d.

        ``target`` (M, 4) is what x, y, w and h are to be.
        """
        p = self.p
        if self.squares:
            d[..., :4][at] = self._weights(own) * (predictions[:, :4] - target)
            return
        solid = boxes.copy()
        solid[:, 2:][boxes[:, 2:] == 0] = 1
        up = slopes(self.measure, solid, own)
        up[:, 2:] *= np.exp(predictions[:, 2:4])
        self._accumulate(d[..., :4], at, up * p.iou_normalizer)

    def _weights(self, own: np.ndarray) -> np.ndarray:
        """Return a factor for each true box, (M, 1), with which small ones count more."""
        return self.p.coord_scale * (2 - own[:, 2:3] * own[:, 3:])

    def _accumulate(self, d: np.ndarray, at: At, up: np.ndarray) -> None:
        """Put a way up, against the loss, into d: bounded, and added to what is there where accumulate says so."""
        up = np.clip(np.nan_to_num(up, nan=0, posinf=0, neginf=0), -self.p.max_delta, self.p.max_delta)
        if self.p.accumulate:
            np.subtract.at(d, at, up)
        else:
            d[at] = -up

    def _compare_classes(self, d: np.ndarray, at: At, predictions: np.ndarray, label: np.ndarray) -> None:
        """Write the differences of the classes (M, C) into d. A prediction may have the classes of several boxes."""
        p = self.p
        eps = 0 if p.use_focal_loss else self.smoothing
        first = np.unique(np.ravel_multi_index(at, d.shape[:4]), return_index=True)[1]
        target = np.full(predictions[first].shape, eps / 2, d.dtype)
        target[np.arange(len(first)), label[first]] = 1 - eps / 2
        wrong = p.class_scale * (predictions[first] - target)
        if p.use_focal_loss:
            right = predictions[first, label[first]][:, None]
            wrong *= _FOCAL * (1 - right) * (1 - right - 2 * right * np.log(right + 1e-15))
        d[tuple(index[first] for index in at)] = wrong
        later = np.setdiff1d(np.arange(len(label)), first)
        chosen = (*(index[later] for index in at), label[later])
        d[chosen] = p.class_scale * (predictions[later, label[later]] - (1 - self.smoothing / 2))
