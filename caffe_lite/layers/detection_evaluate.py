"""DetectionEvaluate: which boxes of a detector are right, for its mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import UnknownSize
from ..data.boxes import overlaps
from ..layer import Kind, register_layer
from ..proto.caffe_pb2 import TEST
from ..ranks import WHOLE, testing_share
from .common.detection_files import in_pixels, read_name_sizes
from .common.rows import ListsLayer

# Columns of Cascade R-CNN's rows in the order of SSD's: image, label, score or instance, box, difficult.
_CASCADE = [0, 5, 6, 1, 2, 3, 4, 7]


@register_layer("DetectionEvaluate")
class DetectionEvaluateLayer(ListsLayer):
    """Compares detections with the true boxes of the same image and label, the best scores first.

    A detection is right if its true box, the one with the largest intersection over union, reaches overlap_threshold
    and no better detection has taken it; otherwise it is wrong. With evaluate_difficult_gt false, a detection whose
    true box is difficult is neither.
    Bottoms of SSD's layer: the detections, (1, 1, K, 7), as from DetectionOutput; the true boxes, (1, 1, M, 8), each
    row image, label, instance, x1, y1, x2, y2, difficult. Rows of image -1, and detections of label -1, do not count.
    Top: (1, 1, C + K, 5): for each class but the background a row -1, label, number of true boxes, -1, -1; then for
    each detection image, label, score, 1 if it is right, 1 if it is wrong. Solvers make the mean average precision of
    it. There is no gradient.
    Bottoms of Cascade R-CNN's: detections (K, 7) of image, x1, y1, x2, y2, label, score; true boxes (M, 8) of image,
    x1, y1, x2, y2, label, ignored, difficult; the images' heights and widths, (N, 2). Boxes are in pixels of these, and
    name_size_file is needed. Top: (C + K, 5, 1, 1).
    Meanings: with two bottoms it is SSD's, with three Cascade R-CNN's.
    Reads ``detection_evaluate_param``: num_classes, background_label_id (0), overlap_threshold (0.5),
    evaluate_difficult_gt (true), name_size_file (none; lines of name, height and width of the test images, in their
    order: boxes are compared in pixels), resize_param (how images were made to fit the net).
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: detection_evaluate_layer.cpp of SSD's Caffe, and of Cascade R-CNN's.
    Differences: sizes are counted by images (the original counts images with detections, so that after an image without
    any, boxes have other images' sizes); in pixels, boxes apart do not overlap (the original gives them a pixel).
    """

    kind = Kind.LOSS
    formula = r"\text{right}_b = [\, \operatorname{IoU}(b, t_b) \ge u, \ t_b \text{ not taken} \,]"
    bottoms = (2, 3)
    untraceable = "how many detections it judges depends on the values it is given"
    repeatable = False
    position = 0  # in the list of test images
    batch_images = 0  # in the last batch, as far as its rows tell
    share = WHOLE

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check(bottom)
        self.share = testing_share() if self.phase == TEST else WHOLE
        file = self.param.detection_evaluate_param.name_size_file
        self.images = read_name_sizes(file, self.where, "detection_evaluate_param") if file else []
        if file and not self.images:
            self.error(f"name_size_file {file!r} is empty", "name the test images there")

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check(bottom)
        self.Reshape(bottom, top)
        rows: Any = UnknownSize()
        top[0].Reshape((rows, 5, 1, 1) if self.cascade else (1, 1, rows, 5))

    def _check(self, bottom: Sequence[Blob]) -> None:
        p = self.param.detection_evaluate_param
        self.cascade = len(bottom) == 3
        if self.cascade:
            self.meaning = "Cascade R-CNN's DetectionEvaluate, because it has three bottoms"
        else:
            self.meaning = "SSD's DetectionEvaluate, because it has two bottoms"
        if not p.num_classes:
            self.error("there is no num_classes", "count the classes, and the background as one of them")
        if p.overlap_threshold <= 0:
            self.error(f"overlap_threshold is {p.overlap_threshold:g}", "use a number above 0")
        if self.cascade and not p.name_size_file:
            self.error("it has three bottoms, as Cascade R-CNN's layer, and no name_size_file", "give it one")
        self.background = 0 if self.cascade else p.background_label_id
        self.labels = [label for label in range(p.num_classes) if label != self.background]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        axis = 1 if self.cascade else 3
        for blob, columns, what in ((bottom[0], 7, "detections"), (bottom[1], 8, "true boxes")):
            shape = blob.shape
            rows = shape[0] if self.cascade else shape[2] if len(shape) > 2 else 0
            if len(shape) <= axis or shape[axis] != columns or blob.count != rows * columns:
                form = f"(N, {columns})" if self.cascade else f"(1, 1, N, {columns})"
                self.error(f"the {what} have the shape {shape}", f"give them as {form}")
        if self.cascade and bottom[2].shape[1:2] != (2,):
            self.error(f"the images' sizes have the shape {bottom[2].shape}", "give height and width of each: (N, 2)")
        self._shape(top[0], len(self.labels) + bottom[0].count // 7)

    def _shape(self, top: Blob, rows: int) -> None:
        top.Reshape((rows, 5, 1, 1) if self.cascade else (1, 1, rows, 5))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        found, truth = (
            self.on_host(blob).reshape(blob.count // columns, columns)
            for blob, columns in zip(bottom, (7, 8), strict=False)
        )
        if self.cascade:
            found, truth = found[:, _CASCADE[:7]], truth[:, _CASCADE]
        found, truth = found[found[:, 0] != -1], truth[truth[:, 0] != -1]
        images = int(np.concatenate([found[:, 0], truth[:, 0]]).max(initial=-1)) + 1
        found = found[found[:, 1] != -1]
        for rows, what in ((found, "detections"), (truth, "true boxes")):
            if (rows[:, 1] == self.background).any():
                self.error(f"among the {what} is one of the background", f"no label may be {self.background}")
        sizes = self.on_host(bottom[2]).reshape(-1, 2) if self.cascade else None
        if self.images:
            images = images if sizes is None else len(sizes)
            if not self.batch_images:  # other workers have the batches before the first one
                self.position = (self.position + self.share.rank * images) % len(self.images)
            self.batch_images = images
            found, truth = self._in_pixels(found, sizes), self._in_pixels(truth, sizes)
            self.position = (self.position + self.share.count * images) % len(self.images)
        rows = np.concatenate([self._true_boxes(truth), *self._judged(found, truth)])
        self._shape(top[0], len(rows))
        top[0].data = ops.reshape(ops.asarray(rows), top[0].shape)

    def _in_pixels(self, rows: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
        """Return the rows with their boxes in pixels of the test images."""
        p = self.param.detection_evaluate_param
        rows = rows.copy()
        for index in np.unique(rows[:, 0]).astype(int):
            image = self.images[(self.position + index) % len(self.images)]
            mine = rows[:, 0] == index
            if sizes is None:
                resize = p.resize_param if p.HasField("resize_param") else None
                rows[mine, 3:7] = in_pixels(rows[mine, 3:7], image.height, image.width, resize)
            elif index < len(sizes):
                rows[mine, 3:7] *= np.tile(np.array([image.width, image.height]) / sizes[index, ::-1], 2)
            else:
                self.error(f"a box is of image {index}, and there are {len(sizes)} images", "give the sizes of all")
        return rows

    def _true_boxes(self, truth: np.ndarray) -> np.ndarray:
        """Return a row for each class: how many true boxes it has."""
        if not self.param.detection_evaluate_param.evaluate_difficult_gt:
            truth = truth[truth[:, 7] == 0]
        rows = np.full((len(self.labels), 5), -1, truth.dtype)
        rows[:, 1] = self.labels
        rows[:, 2] = (truth[:, 1] == rows[:, 1:2]).sum(1)
        return rows

    def _judged(self, found: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
        """Return the rows of the detections, of one image and label after the other."""
        judged = []
        for image, label in np.unique(found[:, :2], axis=0):
            mine = found[(found[:, 0] == image) & (found[:, 1] == label)]
            mine = mine[np.argsort(-mine[:, 2], kind="stable")]
            true = truth[(truth[:, 0] == image) & (truth[:, 1] == label)]
            right, wrong = self._matched(mine[:, 3:7], true[:, 3:7], true[:, 7] != 0)
            judged.append(np.column_stack([mine[:, :3], right, wrong]))
        return judged

    def _matched(self, boxes: np.ndarray, true: np.ndarray, difficult: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which boxes, best first, are right, and which are wrong."""
        p = self.param.detection_evaluate_param
        right = np.zeros(len(boxes), bool)
        if not len(true):
            return right, ~right
        overlap = overlaps(boxes, true, inclusive=bool(self.images))
        nearest = overlap.argmax(1)
        reached = overlap.max(1) >= p.overlap_threshold
        counts = reached if p.evaluate_difficult_gt else reached & ~difficult[nearest]
        takers = np.flatnonzero(counts)
        right[takers[np.unique(nearest[takers], return_index=True)[1]]] = True
        return right, ~reached | (counts & ~right)

    def state(self) -> int:
        return self.position

    def restore_state(self, state: Any) -> None:
        if not isinstance(state, int):
            self.error("the snapshot is that of another net", "resume with the net it was made with")
        self.position = state
