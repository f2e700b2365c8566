"""GaussianYolov3: the loss of YOLO version 3 for boxes that a net predicts together with their uncertainties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from .common.iou_loss import Measure
from .common.yolo_loss import At
from .yolov3 import Yolov3Layer

_WIDER = 0.3  # added to a deviation in the density
_SMALL = 1e-9  # keeps a divisor above 0


@register_layer("GaussianYolov3")
class GaussianYolov3Layer(Yolov3Layer):
    """Yolov3 with a normal distribution for each of x, y, w and h, whose mean and deviation the net predicts.

    For a prediction that is to find a true box, d of a mean m and of a deviation s are iou_normalizer coord_scale
    (2 - area of the box) times the derivatives of -log N(t; m, s), with t the number that gives the true box: of a
    density whose divisor is sqrt(2 pi) (s + 0.3), halved, and bounded by max_delta. The loss has iou_normalizer times
    the mean of 1 - intersection over union in the place of their squares. For all else see Yolov3Layer.
    Bottoms: the map, (N, A (9 + C), H, W): x, y, w and h, each followed by its deviation, an objectness, and C classes;
    all but w and h go through a sigmoid. The true boxes, as for Yolov3. Top: ().
    Reads ``yolov3_param``: as Yolov3, but for iou_loss and label_smooth_eps.
    A net with this layer cannot be compiled, because boxes are matched on the host.
    Source: Choi et al. 2019 (Gaussian YOLOv3); gaussian_yolov3_layer.cpp of MobileNet-YOLO. Differences: those of
    Yolov3; and where several true boxes have one prediction, class_scale is a factor for the classes of all of them
    (the original's is one for the first box only).
    """

    formula = r"d = -\partial \log \mathcal{N}(t;\, m, s)"
    coordinates = 8
    offsets, sizes = slice(0, 4, 2), slice(4, 8, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().Setup(bottom, top)
        self.squares, self.smoothing = False, 0.0
        self.measure = self.counted = Measure.IOU

    def _compare_boxes(
        self, d: np.ndarray, at: At, predictions: np.ndarray, boxes: np.ndarray, own: np.ndarray, target: np.ndarray
    ) -> None:
        mean, deviation = predictions[:, 0:8:2], predictions[:, 1:8:2]
        away = (target - mean) / deviation
        density = np.exp(-away * away / 2) / (np.sqrt(2 * np.pi) * (deviation + _WIDER))
        factor = self.p.iou_normalizer * self._weights(own) / 2 * density / (density + _SMALL)
        self._accumulate(d[..., 0:8:2], at, factor * away / deviation)
        self._accumulate(d[..., 1:8:2], at, factor * (away * away / deviation - 1 / (deviation + _WIDER)))
