"""FrcnnOutput: the objects that Faster R-CNN or a stage of a cascade has found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import UnknownSize
from ..data.boxes import best_first, clip_inside, nms
from ..layer import Kind, register_layer
from ..logs.log import logger
from ..onnx_graph import INT64, OnnxGraph, Operand, Value
from .common.box_regression import BoxCode, check_measure, measure_of
from .common.detection_files import result_files
from .common.onnx_boxes import best_of_all, clipped_inside, column, places, sorted_scores, without_overlapped
from .common.rows import RowsLayer

_SIDE = 200  # of an image in an example


@register_layer("FrcnnOutput")
class FrcnnOutputLayer(RowsLayer):
    """For each image and class, the best boxes that no better one overlaps too much.

    The box of a region is the region, moved and resized by deltas as by DecodeBBox, and cut off at the edge of the
    image. Of each class, boxes with a probability of at least conf_thr compete: those stay that no better one overlaps
    by more than iou_thr. Then the best max_det_num of an image stay, of all classes.
    Bottoms: probabilities (R, K) of classes, with the background at 0; deltas (R, 4 K), four for each class or, unless
    cls_aware, (R, 8), for background and any object; regions (R, 5) or (R, 6), each the number of its image, x1, y1,
    x2, y2 and whatever follows; the sizes of the images (N, 2), height and width. All may have further axes of 1. Top:
    (M, 7, 1, 1), by image, then class, then probability: image, x1, y1, x2, y2, class, probability. The rows of each
    image begin with one that is none: the image, then -1s. Before the first pass there is one row. There is no
    gradient.
    Reads ``frcnn_output_param``: conf_thr (0), iou_thr (0.5), nms_type ("IOU", "IOMU" or "IOFU", as BoxGroupOutput has
    them), max_det_num (0: all), save_output_param. Reads ``bbox_reg_param``: cls_aware (true); bbox_mean and bbox_std,
    four of each, or none for 0 and 1.
    With save_output_param, which reads ``save_output_param`` as DetectionOutput does, the boxes are also written to
    files, in pixels of the original images, once num_test_image images have passed.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Ren et al. 2015; frcnn_output_layer.cpp of Cascade R-CNN's Caffe. Differences: any number of images (theirs
    takes one); files are written in the formats COCO and ILSVRC, too (theirs forgets these results), and files that lie
    in output_directory stay (theirs deletes the folder); boxes that share less than a pixel's width overlap by that
    part (theirs do not); an unknown nms_type is an error (theirs counts as IOU).
    """

    kind = Kind.DETECTION
    formula = r"\{ b : s_b \ge t, \ \text{no better kept } b' \text{ with } \operatorname{IoU}(b', b) > u \}"
    bottoms = (4, 4)
    decides = True
    repeatable = False

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check()
        p = self.param.frcnn_output_param.save_output_param
        classes = bottom[0].shape[1] if bottom[0].num_axes > 1 else 1
        self.files = result_files(self, p, range(1, classes))
        if self.files:
            self.check_undivided("it writes the detections of all batches into files")

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check()
        self.Reshape(bottom, top)
        self.reshape_tops(top, UnknownSize())

    def _check(self) -> None:
        self.code = BoxCode.of(self)
        self.cls_aware = self.param.bbox_reg_param.cls_aware
        self.measure = measure_of(self, self.param.frcnn_output_param.nms_type)

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        scores, deltas, regions, sizes = bottom
        classes = scores.shape[1] if scores.num_axes > 1 else 1
        self.check_vectors(scores, "probabilities", classes)
        self.check_vectors(deltas, "deltas", 4 * classes if self.cls_aware else 8)
        self.check_vectors(regions, "regions", 5, 6)
        self.check_vectors(sizes, "sizes of images", 2)
        self.check_as_many(bottom[:3])
        self.images = sizes.shape[0]
        return [(7, 1, 1)]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, deltas, regions, sizes = (self.vectors(blob) for blob in bottom)
        deltas = deltas.reshape(len(deltas), deltas.shape[1] // 4, 4)
        image = np.trunc(regions[:, 0])
        wrong = ~((image >= 0) & (image < len(sizes)))
        if wrong.any():
            self.error(
                f"region {wrong.argmax()} is of image {image[wrong][0]:g}", f"there are {len(sizes)}: count from 0"
            )
        rows = [np.empty((0, 7), scores.dtype)]
        for i, size in enumerate(sizes):
            own = image == i
            found = self._found(scores[own], deltas[own], regions[own, 1:5], size)
            if self.files is not None:
                fractions = found[:, :4] / np.tile(size[::-1], 2)
                first = np.full((len(found), 1), i, found.dtype)
                self.files.add_image(np.concatenate([first, found[:, 4:], fractions], 1))
            found = np.concatenate([np.full((1, 6), -1, found.dtype), found])
            rows.append(np.insert(found, 0, i, 1))
        if sum(map(len, rows)) == len(sizes):
            logger.info("Couldn't find any detections")
        self.deliver(top, [np.concatenate(rows)])

    def _found(self, scores: np.ndarray, deltas: np.ndarray, regions: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Return the boxes of an image (n, 6): x1, y1, x2, y2, class, probability."""
        p = self.param.frcnn_output_param
        height, width = size
        found = [np.empty((0, 6), scores.dtype)]
        for label in range(1, scores.shape[1]):
            candidates = np.flatnonzero(scores[:, label] >= scores.dtype.type(p.conf_thr))
            candidates = candidates[best_first(scores[candidates, label])]
            boxes = self.code.decode(regions[candidates], deltas[candidates, label if self.cls_aware else 1])
            clip_inside(boxes, width, height)
            kept = nms(boxes, p.iou_thr, inclusive=True, measure=self.measure)
            value = scores[candidates[kept], label]
            found.append(np.column_stack([boxes[kept], np.full_like(value, label), value]))
        rows = np.concatenate(found)
        if 0 < p.max_det_num < len(rows):
            rows = rows[np.sort(best_first(rows[:, 5], p.max_det_num))]
        return rows

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        if index == 2:
            number = rng.integers(0, self.images, (shape[0], 1))
            corners = np.sort(rng.uniform(0, _SIDE, (shape[0], 2, 2)), 1).reshape(-1, 4)
            return np.concatenate([number, corners, np.ones((shape[0], shape[1] - 5))], 1).reshape(shape)
        return np.full(shape, float(_SIDE)) if index == 3 else None

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        check_measure(self, self.measure)
        p = self.param.frcnn_output_param
        scores, deltas, regions, sizes = (g.reshape(x, x.sizes[:2]) for x in bottom)
        labels, count, number = (
            (scores.sizes[1] or 0) - 1,
            g.Gather(g.Shape(scores), [0]),
            g.Gather(g.Shape(sizes), [0]),
        )

        def shaped(x: Value, *shape: Operand) -> Value:
            """Reshape even if there is no region; before opset 14, ONNX cannot say that."""
            y: Value = g.Reshape(x, g.Concat(*shape, axis=0), allowzero=1 if g.opset >= 14 else None)
            return y

        image = g.Cast(g.slice(regions, [0], [1], [1]), to=INT64)  # (R, 1)
        boxes, each = self._written_boxes(g, deltas, regions, g.GatherND(sizes, image))
        images = g.Range(0, g.Squeeze(number, [0]), 1)
        own = g.Equal(g.Transpose(image, perm=[1, 0]), g.Unsqueeze(images, [1, 2]))  # (N, 1, R)
        values = g.Transpose(g.slice(scores, [1], [labels + 1], [1]), perm=[1, 0])
        values = g.Where(g.And(own, g.GreaterOrEqual(values, p.conf_thr)), values, -np.inf)
        values, index = sorted_scores(g, values, count)  # (N, labels, R)
        which = g.Add(g.Mul(index, each), np.arange(labels)[:, None]) if each > 1 else index
        boxes = g.Gather(boxes, which, axis=0)
        lists = shaped(boxes, g.Mul(number, labels), count, [4]), shaped(values, g.Mul(number, labels), count)
        kept = without_overlapped(g, *lists, p.iou_thr, most=count, inclusive=True)
        total = g.Mul(count, labels)
        kept = shaped(kept, number, total)
        if p.max_det_num:
            kept = best_of_all(g, kept, g.Min(total, [p.max_det_num]))
        values = g.Unsqueeze(values, [3])
        label = g.Expand(np.arange(1, labels + 1, dtype=np.float32)[:, None, None], g.Shape(values))
        found = shaped(g.Concat(boxes, label, values, axis=3), number, total, [6])
        first = g.Mul(g.slice(sizes, [0], [1], [1]), 0.0)  # of each image, before what is found
        found = g.Concat(g.Sub(g.Unsqueeze(first, [2]), np.ones(6)), found, axis=1)
        place = places(g, g.Concat(first, kept, axis=1))
        return [g.reshape(g.Concat(column(g, place, 0), g.GatherND(found, place), axis=1), (None, 7, 1, 1))]

    def _written_boxes(self, g: OnnxGraph, deltas: Value, regions: Value, sizes: Value) -> tuple[Value, int]:
        """Write the boxes of regions (R, 5) in images of these sizes (R, 2), and how many each has: (R each, 4)."""
        count = (deltas.sizes[1] or 0) // 4
        last = count if self.cls_aware else 2
        deltas = g.slice(g.reshape(deltas, (deltas.sizes[0], count, 4)), [1], [last], [1])
        boxes = self.code.decoded(g, g.Unsqueeze(g.slice(regions, [1], [5], [1]), [1]), deltas)
        boxes = clipped_inside(g, boxes, g.Unsqueeze(g.Gather(sizes, [1, 0], axis=1), [1]))
        return g.reshape(boxes, (None, 4)), last - 1
