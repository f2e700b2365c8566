"""The base class of layers that find objects in YOLO's maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...blobs import Blob
from ...data.boxes import corners
from ...onnx_graph import FLOAT, OnnxGraph, Value
from .onnx_boxes import places, sorted_scores, without_overlapped
from .rows import DetectionsLayer
from .yolo import distinct, just_below


class Candidates(NamedTuple):
    """Boxes that maps predict: image, label, score, and box (x, y, width, height) of each."""

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    box: np.ndarray


class YoloOutputLayer(DetectionsLayer):
    """A layer that decodes maps, and keeps the boxes that no better box of the image, of any class, overlaps much.

    Its top lists them by image, the best first. Of equal scores, those of earlier bottoms, rows, columns and anchors
    come first.
    """

    formula = r"\{ b : s_b > t, \ \text{no better kept } b' \text{ with } \operatorname{IoU}(b, b') \ge u \}"
    nms_threshold: float
    shapes: Sequence[tuple[int, int, int, int, int]]  # (N, A, values, H, W) of the maps
    labels_of_box = 1  # how many candidates each box is

    def check_thresholds(self, nms_threshold: float) -> None:
        if not nms_threshold > 0:
            self.error(f"nms_threshold is {nms_threshold:g}", "use a number above 0; with 2, no box is dropped")
        self.nms_threshold = nms_threshold

    def check_samples(self, bottom: Sequence[Blob]) -> None:
        """Refuse maps of different batches."""
        if any(blob.shape[:1] != bottom[0].shape[:1] for blob in bottom):
            shapes = ", ".join(str(blob.shape) for blob in bottom)
            self.error(f"the maps {shapes} are of different numbers of images", "give all maps of one batch")

    def candidates(self, bottom: Blob, index: int) -> Candidates:
        """Return the boxes in the bottom of this index whose scores are high enough."""
        raise NotImplementedError

    def written_candidates(self, g: OnnxGraph, maps: Value, index: int) -> tuple[Value, Value, Value | None]:
        """Write boxes (N, M, 4) and, of M ``labels_of_box`` candidates, the scores, -inf where they are too low, and
        the labels: (N, ...); None if the candidates of each box are all the labels in order."""
        raise NotImplementedError

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        found = [self.written_candidates(g, maps, index) for index, maps in enumerate(bottom)]
        boxes, scores = (g.Concat(*part, axis=1) for part in list(zip(*found, strict=True))[:2])
        labels = None if found[0][2] is None else g.Concat(*(part[2] for part in found), axis=1)
        total = self.labels_of_box * sum(shape[1] * shape[3] * shape[4] for shape in self.shapes)
        scores, index = sorted_scores(g, scores, total)
        which = g.Unsqueeze(g.Div(index, self.labels_of_box), [2])
        boxes = g.GatherND(boxes, which, batch_dims=1)
        kept = without_overlapped(g, boxes, scores, just_below(np.float32(self.nms_threshold)), most=total)
        place = places(g, kept)
        label = g.Mod(index, self.labels_of_box) if labels is None else g.GatherElements(labels, index, axis=1)
        numbers = (g.Cast(g.Add(label, 1), to=FLOAT), scores)
        columns = [*(g.Unsqueeze(g.GatherND(x, place), [1]) for x in numbers), g.GatherND(boxes, place)]
        return [self.written(g, kept, place, columns)]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.ops.tracer is not None:
            raise NotImplementedError(self.untraceable)
        parts = [self.candidates(blob, index) for index, blob in enumerate(bottom)]
        found = Candidates(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.lexsort((-found.score, found.image))
        each = np.split(order, np.searchsorted(found.image[order], np.arange(1, bottom[0].shape[0])))
        self.deliver(top, [self._rows(found, own) for own in each[: bottom[0].shape[0]]])

    def _rows(self, found: Candidates, own: np.ndarray) -> np.ndarray:
        """Return the rows of an image with these candidates, best first."""
        kept = own[distinct(found.box[own], self.nms_threshold)]
        columns = (found.image[kept], found.label[kept] + 1, found.score[kept])
        return np.concatenate([np.stack(columns, 1), corners(found.box[kept])], 1)
