"""How region proposal networks choose regions among anchors, and how that is written in ONNX."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...data import boxes
from ...onnx_graph import FLOAT, OnnxGraph, Value
from .onnx_boxes import column, ends, from_deltas, places, sorted_scores, without_overlapped


class Rules(NamedTuple):
    """Anchors (A, 4), the regions to take, and how small ones are treated."""

    anchors: np.ndarray
    stride: tuple[float, float]
    before: int  # most that are compared, and most that are kept
    after: int
    overlap: float
    smallest: tuple[float, float]  # width and height, in pixels of the image before it was scaled
    small: str  # smaller ones are the worst, or dropped "before" or "after" the best are chosen
    inclusive: bool  # sizes and overlaps count the last pixels

    def to_onnx(self, g: OnnxGraph, scores: Value, deltas: Value, info: Value) -> tuple[Value, Value, Value]:
        """Write the choice from scores (N, 2 A, H, W), deltas (N, 4 A, H, W) and information about the images, (N, K)
        or (1, K).

        Return the regions (R, 5); their scores (R); and the scores (N, before) of all, -inf if they are not kept.
        """
        count, images, (height, width) = len(self.anchors), scores.sizes[0], scores.image
        total, last = height * width * count, (info.sizes[1] or 0) - 1
        best = g.Transpose(g.slice(scores, [count], [2 * count], [1]), perm=[0, 2, 3, 1])
        best = g.reshape(best, (images, total))
        deltas = g.reshape(g.Transpose(deltas, perm=[0, 2, 3, 1]), (images, total, 4))
        anchors = boxes.on_grid(self.anchors, height, width, self.stride).reshape(total, 4)
        info = g.Unsqueeze(info, [1])
        limits = g.Sub(g.Gather(info, [1, 0, 1, 0], axis=2), 1.0)
        corners = g.Min(g.Max(from_deltas(g, anchors, deltas), 0.0), limits)
        near, far = ends(g, corners)
        least = g.Mul(g.Gather(info, [min(3, last), 2], axis=2), np.array(self.smallest, np.float32))
        size = g.Sub(far, near)
        margin = g.Sub(g.Add(size, 1.0) if self.inclusive else size, least)
        margin = g.reduce("ReduceMin", margin, [2], keepdims=False)
        large = g.GreaterOrEqual(margin, 0.0) if self.inclusive else g.Greater(margin, 0.0)
        if self.small == "worst":
            best = g.Mul(best, g.Cast(large, to=FLOAT))
        elif self.small == "before":
            best = g.Where(large, best, -np.inf)
        best, index = sorted_scores(g, best, min(self.before, total))
        if self.small == "after":
            best = g.Where(g.GatherElements(large, index, axis=1), best, -np.inf)
        corners = g.GatherND(corners, g.Unsqueeze(index, [2]), batch_dims=1)
        kept = without_overlapped(g, corners, best, self.overlap, most=self.after, inclusive=self.inclusive)
        place = places(g, kept)
        regions = g.Concat(column(g, place, 0), g.GatherND(corners, place), axis=1)
        return regions, g.GatherND(kept, place), kept


def example_of_images(count: int, columns: int, height: float, width: float) -> np.ndarray:
    """Return height, width and scale, 1, of images, (count, columns)."""
    row = np.ones(columns)
    row[:2] = height, width
    return np.tile(row, (count, 1))
