"""DecodeBBox: the regions of the next stage of a cascade, from the boxes that one stage predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2
from .common.box_regression import BoxCode
from .common.rows import RowsLayer


@register_layer("DecodeBBox")
class DecodeBBoxLayer(RowsLayer):
    """Each region moved and resized by the deltas dx, dy, dw, dh that a stage predicts for an object in it.

    With the region's width w, height h and centre x, y, the box has the centre x + dx w, y + dy h and the size
    w exp(dw), h exp(dh), counted in whole pixels: a box is x2 - x1 + 1 wide. Deltas are multiplied by bbox_std and
    bbox_mean is added first.
    Bottoms: deltas (R, 8) of the background and of any object, of which the second four are used; regions (R, 5), each
    the number of its image, x1, y1, x2, y2; optionally (R, K), whose last column is how much each region overlaps its
    object, as ProposalTarget gives it. All may have further axes of 1. Top: (M, 5, 1, 1), before the first pass one
    row. In TEST, M is R. In TRAIN, boxes whose x2 or y2 comes before x1 or y1 are dropped, and with three bottoms also
    those of regions that overlap their object by gt_iou_thr or more, which are most likely the object's own box. There
    is no gradient.
    Reads ``decode_bbox_param``: gt_iou_thr (0.95). Reads ``bbox_reg_param``: bbox_mean and bbox_std, four of each, or
    none for 0 and 1; cls_aware is not read.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Cai and Vasconcelos 2018; decode_bbox_layer.cpp of Cascade R-CNN's Caffe. Differences: all boxes may be
    dropped (theirs dies); in TEST a third bottom is not read (theirs dies).
    """

    kind = Kind.DETECTION
    formula = r"x' = x + w\, d_x, \quad w' = w\, e^{d_w}"
    bottoms = (2, 3)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.code = BoxCode.of(self)

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        self.check_vectors(bottom[0], "deltas", 8)
        self.check_vectors(bottom[1], "regions", 5)
        self.check_as_many(bottom)
        return [(5, 1, 1)]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        deltas, regions, *matches = (self.vectors(blob) for blob in bottom)
        boxes = self.code.decode(regions[:, 1:], deltas[:, 4:])
        kept = np.ones(len(boxes), bool)
        if self.phase == caffe_pb2.TRAIN:
            kept &= (boxes[:, :2] <= boxes[:, 2:]).all(1)
            for match in matches:
                kept &= match[:, -1] < np.float32(self.param.decode_bbox_param.gt_iou_thr)
        self.deliver(top, [np.concatenate([regions[:, :1], boxes], 1)[kept]])

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        deltas, regions = (g.reshape(x, x.sizes[:2]) for x in bottom[:2])
        number, region = g.slice(regions, [0], [1], [1]), g.slice(regions, [1], [5], [1])
        boxes = self.code.decoded(g, region, g.slice(deltas, [4], [8], [1]))
        return [g.reshape(g.Concat(number, boxes, axis=1), (None, 5, 1, 1))]
