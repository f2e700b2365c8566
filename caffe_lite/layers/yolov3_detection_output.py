"""Yolov3DetectionOutput: the boxes that a net of YOLO version 3 has found."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common.yolo import anchors_of, by_place, check_maps, predicted_boxes, written_boxes, written_by_place
from .common.yolo_output import Candidates, YoloOutputLayer


@register_layer("Yolov3DetectionOutput")
class Yolov3DetectionOutputLayer(YoloOutputLayer):
    """For each image, the best boxes in maps of several scales that no better one overlaps too much.

    At each place of a map and for each of its anchors there are x, y, w, h, an objectness, and a number for each class.
    The box has its centre at (column + sigmoid(x)) / W and (row + sigmoid(y)) / H, and the size exp(w), exp(h) times
    the anchor over the net's image. Its score for a class is sigmoid(objectness) sigmoid(class); each score above
    confidence_threshold makes a candidate. One is dropped if its intersection over union with a better kept one, of any
    class, is nms_threshold or more.
    Bottoms: a map for each scale, (N, A (5 + C), H, W) for A anchors and C classes, or (N, A (9 + C), H, W) with
    gaussian_box: x, y, w and h are each followed by an uncertainty, and the score is multiplied by 1 minus the mean
    of the uncertainties' sigmoids.
    Top: (1, 1, K, 7), each row an image's index, label (the class from 1 on), score, x1, y1, x2, y2 as fractions of the
    image, which may reach beyond it; by image, then score. Without any box, one row for each image: its index, then
    -1s. There is no gradient.
    Reads ``yolov3_detection_output_param``: num_classes, num_box (3), A; confidence_threshold (0.01), nms_threshold
    (0.45); biases, the width and height of each anchor in pixels; mask, the numbers of the anchors of each map, one
    map after the other; mask_group_num (2), the number of maps; anchors_scale, how many pixels of the image a place of
    each map stands for; gaussian_box (false).
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Redmon and Farhadi 2018 (YOLOv3), Choi et al. 2019 (Gaussian YOLOv3); yolov3_detection_output_layer.cpp of
    MobileNet-YOLO. Differences: each image of a batch has boxes of its own (the original gives all of them to the first
    image); with gaussian_box, the classes are those after the objectness (the original's code for CPUs takes the
    objectness for the first class).
    """

    bottoms = (1, None)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.yolov3_detection_output_param.num_classes} classes"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.yolov3_detection_output_param
        self.check_thresholds(p.nms_threshold)
        if not p.HasField("num_classes") or not p.num_classes or not p.num_box:
            self.error("there is no num_classes, or it or num_box is 0", "set num_classes, without the background")
        maps = len(bottom)
        if p.mask_group_num != maps:
            self.error(f"mask_group_num is {p.mask_group_num}, and there are {maps} bottoms", "make them equal")
        if len(p.anchors_scale) < maps:
            self.error(f"there are {len(p.anchors_scale)} anchors_scale", f"give one for each of {maps} bottoms")
        anchors = anchors_of(self, p.biases)
        each = len(p.mask) // maps
        if each < p.num_box or max(p.mask) >= len(anchors):
            self.error(
                f"mask has {len(p.mask)} numbers, up to {max(p.mask, default=0)}, for {len(anchors)} anchors",
                f"give num_box, {p.num_box}, for each of {maps} bottoms; anchors count from 0",
            )
        self.anchors = [anchors[list(p.mask[t * each : t * each + p.num_box])] for t in range(maps)]
        self.coordinates = 8 if p.gaussian_box else 4
        self.labels_of_box = p.num_classes

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        values = self.coordinates + 1 + self.p.num_classes
        self.shapes = [check_maps(self, blob, self.p.num_box, values) for blob in bottom]
        self.check_samples(bottom)
        self.reshape_top(top)

    def candidates(self, bottom: Blob, index: int) -> Candidates:
        ops, shape, coordinates = self.ops, self.shapes[index], self.coordinates
        maps = ops.reshape(bottom.data, shape)
        raw, active = (by_place(ops.host_view(x)) for x in (maps, ops.sigmoid(maps)))
        step = coordinates // 4
        objectness = active[..., coordinates]
        if self.p.gaussian_box:
            objectness = objectness * (1 - active[..., 1:8:2].mean(-1))
        scores = (objectness[..., None] * active[..., coordinates + 1 :]).transpose(0, 2, 3, 1, 4)
        image, row, column, anchor, label = np.nonzero(scores > self.p.confidence_threshold)
        boxes = predicted_boxes(
            active[..., : 2 * step : step], raw[..., 2 * step : 4 * step : step], self._anchors(index)
        )
        return Candidates(image, label, scores[image, row, column, anchor, label], boxes[image, anchor, row, column])

    def _anchors(self, index: int) -> np.ndarray:
        """Return the anchors (A, 2) of a map, as fractions of the image."""
        height, width = self.shapes[index][3:]
        return self.anchors[index] / (self.p.anchors_scale[index] * np.array([width, height]))

    def written_candidates(self, g: OnnxGraph, maps: Value, index: int) -> tuple[Value, Value, Value | None]:
        shape, coordinates, step = self.shapes[index], self.coordinates, self.coordinates // 4
        raw = written_by_place(g, maps, shape)
        active = g.Sigmoid(raw)
        scores = g.Gather(active, [coordinates], axis=4)
        if self.p.gaussian_box:
            doubt = g.reduce("ReduceMean", g.Gather(active, [1, 3, 5, 7], axis=4), [4])
            scores = g.Mul(scores, g.Sub(1.0, doubt))
        scores = g.Mul(scores, g.Gather(active, list(range(coordinates + 1, shape[2])), axis=4))
        scores = g.Where(g.Greater(scores, self.p.confidence_threshold), scores, -np.inf)
        offsets, sizes = g.Gather(active, [0, step], axis=4), g.Gather(raw, [2 * step, 3 * step], axis=4)
        boxes = written_boxes(g, offsets, sizes, self._anchors(index), shape)
        return boxes, g.reshape(scores, (maps.sizes[0], prod(shape[3:]) * shape[1] * self.labels_of_box)), None
