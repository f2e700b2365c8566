"""BoxGroupOutput: the regions that the maps of a region proposal network propose together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..data.boxes import best_first, clip_inside, nms
from ..layer import Kind, register_layer
from ..onnx_graph import OnnxGraph, Value
from .common.box_regression import Anchors, Bounds, BoxCode, check_measure, measure_of
from .common.onnx_boxes import clipped_inside, column, ends, places, sorted_scores, unless_any, without_overlapped
from .common.rows import RowsLayer


@register_layer("BoxGroupOutput")
class BoxGroupOutputLayer(RowsLayer):
    """For each image, the best boxes of all maps that no better one overlaps too much.

    Each place of a map has anchors of G sizes, centred in its cell of stride x stride pixels. The score of an anchor is
    1 minus the probability of the background; its box is the anchor, moved and resized by deltas as by DecodeBBox,
    after these are limited to a shift of 1/field_xyr of the anchor and a factor of field_whr. Boxes with a score of at
    least fg_thr are clipped to the image, whose width and height are taken to be those of the map times stride. Those
    at least min_size wide and high compete: the best max_nms_num of an image, without those that a better one overlaps
    by more than iou_thr, and of these the best max_post_nms_num.
    Bottoms: for each map, probabilities (N G, K, H, W), with the background at 0, and deltas (N G, 4, H, W); the G
    anchors of an image follow each other along the first axis. Tops: regions (R, 5, 1, 1), each the number of its image
    and x1, y1, x2, y2, best first for each image; optionally (R, 6, 1, 1), with the score last. Where no image has any,
    there is one stand-in, 0, 1, 1, 10, 10, and a row of zeros in the second top. Before the first pass there is one
    row. There is no gradient.
    Reads ``box_group_output_param``: box_group_param, one for each map, which holds field_w and field_h, the sizes of
    its anchors, and stride; fg_thr (0), iou_thr (0.5), nms_type ("IOU"; "IOMU" divides the area that two boxes share by
    that of the smaller one, "IOFU" by that of the better one), field_whr (2), field_xyr (2), max_nms_num (0: all),
    max_post_nms_num (0: all), min_size (15). Reads ``bbox_reg_param``: bbox_mean and bbox_std, four of each, or none
    for 0 and 1; cls_aware is not read.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Cai and Vasconcelos 2018; box_group_output_layer.cpp of Cascade R-CNN's Caffe. Differences: boxes that share
    less than a pixel's width overlap by that part (theirs do not); an unknown nms_type is an error (theirs counts as
    IOU); equal scores stay in order (theirs in any); an empty batch has no regions (theirs has the stand-in).
    """

    kind = Kind.DETECTION
    formula = r"\{ b : s_b \ge t, \ \text{no better kept } b' \text{ with } \operatorname{IoU}(b', b) > u \}"
    bottoms = (2, None)
    decides = True
    tops = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.box_group_output_param
        if len(bottom) != 2 * len(p.box_group_param):
            self.error(
                f"it has {len(bottom)} bottoms and {len(p.box_group_param)} box_group_param",
                "give each map two bottoms, probabilities and deltas, and one box_group_param",
            )
        self.maps = [Anchors.of(self, fields) for fields in p.box_group_param]
        self.code = BoxCode.of(self)
        self.bounds = Bounds.of(self, p.field_xyr, p.field_whr)
        self.measure = measure_of(self, p.nms_type)

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        images = []
        for anchors, scores, deltas in zip(self.maps, bottom[::2], bottom[1::2], strict=True):
            if len(scores.shape) != 4 or deltas.shape != (scores.shape[0], 4, *scores.shape[2:]):
                self.error(
                    f"the bottoms {scores.shape} and {deltas.shape} make no map",
                    "give probabilities (N G, K, H, W) and deltas (N G, 4, H, W)",
                )
            if scores.shape[0] % len(anchors):
                self.error(
                    f"the bottom {scores.shape} does not divide into {len(anchors)} anchors for each image",
                    "reshape it so that its first axis is the number of images times that of anchors",
                )
            images.append(scores.shape[0] // len(anchors))
        if any(count != images[0] for count in images):
            self.error(f"the maps are of {', '.join(map(str, images))} images", "give maps of one batch")
        self.images = images[0]
        return [(5, 1, 1), (6, 1, 1)]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        maps = [self.on_host(blob) for blob in bottom]
        found = [self._best(image, maps[::2], maps[1::2]) for image in range(self.images)]
        rows = np.concatenate([np.empty((0, 6), maps[0].dtype), *found])
        regions = rows[:, :5]
        if self.images and not len(rows):
            rows = np.zeros((1, 6), rows.dtype)
            regions = np.array([[0, 1, 1, 10, 10]], rows.dtype)
        self.deliver(top, [regions, rows])

    def _best(self, image: int, scores: Sequence[np.ndarray], deltas: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of an image (n, 6)."""
        p = self.param.box_group_output_param
        boxes, values = [], []
        for anchors, background, numbers in zip(self.maps, scores, deltas, strict=True):
            groups = slice(image * len(anchors), (image + 1) * len(anchors))
            value = 1 - background[groups, 0]
            group, row, column = at = np.nonzero(value >= value.dtype.type(p.fg_thr))
            height, width = value.shape[1:]
            box = self.code.decode(anchors.at(group, row, column), numbers[groups][group, :, row, column], self.bounds)
            clip_inside(box, width * anchors.stride, height * anchors.stride)
            large = (box[:, 2:] - box[:, :2] + 1 >= p.min_size).all(1)
            boxes.append(box[large])
            values.append(value[at][large])
        box, value = np.concatenate(boxes), np.concatenate(values)
        order = best_first(value, p.max_nms_num or None)
        order = order[nms(box[order], p.iou_thr, most=p.max_post_nms_num or None, inclusive=True, measure=self.measure)]
        return np.concatenate([np.full((len(order), 1), image, value.dtype), box[order], value[order, None]], 1)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        check_measure(self, self.measure)
        p = self.param.box_group_output_param
        maps = [self._written(g, *map_) for map_ in zip(self.maps, bottom[::2], bottom[1::2], strict=True)]
        boxes, scores = (g.Concat(*parts, axis=1) for parts in zip(*maps, strict=True))
        total = sum(len(anchors) * prod(x.image) for anchors, x in zip(self.maps, bottom[::2], strict=True))
        scores, index = sorted_scores(g, scores, min(p.max_nms_num or total, total))
        boxes = g.GatherND(boxes, g.Unsqueeze(index, [2]), batch_dims=1)
        kept = without_overlapped(g, boxes, scores, p.iou_thr, most=p.max_post_nms_num or total, inclusive=True)
        place = places(g, kept)
        regions = g.Concat(column(g, place, 0), g.GatherND(boxes, place), axis=1)
        rows = g.Concat(regions, g.Unsqueeze(g.GatherND(kept, place), [1]), axis=1)
        regions, rows = unless_any(g, regions, kept, [0, 1, 1, 10, 10]), unless_any(g, rows, kept, [0] * 6)
        return [g.reshape(regions, (None, 5, 1, 1)), g.reshape(rows, (None, 6, 1, 1))][: len(top)]

    def _written(self, g: OnnxGraph, anchors: Anchors, background: Value, numbers: Value) -> tuple[Value, Value]:
        """Write the boxes (N, M, 4) of a map and their scores (N, M), -inf if they are too low or the box too small."""
        p, (height, width) = self.param.box_group_output_param, numbers.image
        shape = (len(anchors), height, width)
        scores = g.Sub(1.0, g.reshape(g.slice(background, [0], [1], [1]), (None, prod(shape))))
        deltas = g.Transpose(g.reshape(numbers, (None, len(anchors), 4, height, width)), perm=[0, 1, 3, 4, 2])
        all_anchors = anchors.at(*np.indices(shape).reshape(3, -1)).astype(np.float32)
        boxes = self.code.decoded(g, all_anchors, g.reshape(deltas, (None, prod(shape), 4)), self.bounds)
        boxes = clipped_inside(g, boxes, np.array([width, height], np.float32) * anchors.stride)
        near, far = ends(g, boxes)
        size = g.reduce("ReduceMin", g.Add(g.Sub(far, near), 1.0), [2], keepdims=False)
        good = g.And(g.GreaterOrEqual(scores, p.fg_thr), g.GreaterOrEqual(size, float(p.min_size)))
        return boxes, g.Where(good, scores, -np.inf)
