"""YoloDetectionOutput: the boxes that a net of YOLO version 2 has found."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common.yolo import Version2, anchors_of, check_maps, written_boxes, written_by_place
from .common.yolo_output import Candidates, YoloOutputLayer


@register_layer("YoloDetectionOutput")
class YoloDetectionOutputLayer(YoloOutputLayer):
    """For each image, the best boxes in one or two maps that no better one overlaps too much.

    At each place of a map and for each anchor there are x, y, w, h, an objectness, and a number for each class. The box
    has its centre at (column + sigmoid(x)) / W and (row + sigmoid(y)) / H, and the size exp(w), exp(h) times the
    anchor's number of places of the map. Its label is the class with the largest softmax, its score sigmoid(objectness)
    times that; boxes of confidence_threshold or more are candidates. One is dropped if its intersection over union with
    a better kept one, of any class, is nms_threshold or more.
    Bottoms: one or two maps, (N, A (5 + C), H, W) for A anchors and C classes; both have the same anchors. Top:
    (1, 1, K, 7), each row an image's index, label (the class from 1 on), score, x1, y1, x2, y2 as fractions of the
    image, which may reach beyond it; by image, then score. Without any box, one row for each image: its index, then
    -1s. There is no gradient.
    Reads ``yolo_detection_output_param``: num_classes, num_box (5), A; confidence_threshold (0.01), nms_threshold
    (0.45); biases, the width and height of each anchor in places of the map. side, coords and label_map_file change
    nothing, as in the original.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Redmon and Farhadi 2017 (YOLO9000); yolo_detection_output_layer.cpp of MobileNet-YOLO. Differences: each
    image of a batch has boxes of its own (the original gives all of them to the first image); maps need not be square;
    label_map_file is not opened.
    """

    bottoms = (1, 2)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.yolo_detection_output_param.num_classes} classes"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.yolo_detection_output_param
        self.check_thresholds(p.nms_threshold)
        if not p.HasField("num_classes") or not p.num_classes or not p.num_box:
            self.error("there is no num_classes, or it or num_box is 0", "set num_classes, without the background")
        self.anchors = anchors_of(self, p.biases, p.num_box)[: p.num_box]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.shapes = [check_maps(self, blob, self.p.num_box, 5 + self.p.num_classes) for blob in bottom]
        self.check_samples(bottom)
        self.reshape_top(top)

    def candidates(self, bottom: Blob, index: int) -> Candidates:
        maps = self.ops.reshape(bottom.data, self.shapes[index])
        boxes, objectness, classes = Version2.of(self.ops, maps, self.anchors)
        scores = (objectness * classes.max(-1)).transpose(0, 2, 3, 1)
        image, row, column, anchor = np.nonzero(scores >= self.p.confidence_threshold)
        label = classes.argmax(-1)[image, anchor, row, column]
        return Candidates(image, label, scores[image, row, column, anchor], boxes[image, anchor, row, column])

    def written_candidates(self, g: OnnxGraph, maps: Value, index: int) -> tuple[Value, Value, Value | None]:
        shape = self.shapes[index]
        raw = written_by_place(g, maps, shape)
        classes = g.Softmax(g.Gather(raw, list(range(5, shape[2])), axis=4), axis=4)
        active, count = g.Sigmoid(g.Gather(raw, [0, 1, 4], axis=4)), (maps.sizes[0], prod(shape[3:]) * shape[1])
        scores = g.Mul(g.Gather(active, [2], axis=4), g.reduce("ReduceMax", classes, [4]))
        scores = g.Where(g.GreaterOrEqual(scores, self.p.confidence_threshold), scores, -np.inf)
        offsets, sizes = g.Gather(active, [0, 1], axis=4), g.Gather(raw, [2, 3], axis=4)
        boxes = written_boxes(g, offsets, sizes, self.anchors / [shape[4], shape[3]], shape)
        return boxes, g.reshape(scores, count), g.reshape(g.ArgMax(classes, axis=4), count)
