"""Measures of how well two boxes agree, and how these change with the first box; losses are one minus a measure.

Boxes are NumPy arrays (..., 4) of x, y, width, height, with the centre at x, y.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ...data.boxes import corners, paired_overlaps


class Measure(IntEnum):
    """Intersection over union, or less of it by how far the boxes are apart; the numbers are Yolov3Parameter's.

    GIOU takes off the part of the rectangle around both boxes that neither fills. DIOU takes off a power of d / c, the
    squared distance of the centres over the squared diagonal of that rectangle; CIOU takes off d / c, and a term of how
    the aspects differ.
    """

    IOU = 0
    GIOU = 1
    DIOU = 3
    CIOU = 4


_SMALL = 1e-6  # keeps the divisor of CIOU's weight above 0


def agreement(measure: Measure, boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the measure of each box with the true box at its place: (...)."""
    a, b = corners(boxes), corners(truth)
    iou = paired_overlaps(a, b)
    if measure is Measure.IOU:
        return iou
    around = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    if measure is Measure.GIOU:
        whole = around[..., 0] * around[..., 1]
        union = _areas(boxes) + _areas(truth)
        union = union / (1 + iou)  # because iou = shared / union, and both areas = shared + union
        return iou - _divided(whole - union, whole)
    far = _divided(_squares(boxes[..., :2] - truth[..., :2]), _squares(around))
    if measure is Measure.DIOU:
        return iou - far**0.6
    aspects = _aspect_term(boxes, truth)
    return iou - far - aspects * aspects / (1 - iou + aspects + _SMALL)


def agreement_of_sizes(measure: Measure, sizes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the measure of boxes of these widths and heights (..., 2) with true ones of the same centre: (...)."""
    return agreement(measure, *(np.concatenate([np.zeros_like(x), x], -1) for x in (sizes, truth)))


def slopes(measure: Measure, boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Darknet's derivatives (M, 4) of the measure by x, y, width and height of the boxes (M, 4).

    They are not quite those of ``agreement``. By width and height, those of IOU and GIOU are twice as large, also
    within DIOU and CIOU. Of d / c there is no power, and the change of c with x and y has the other sign. CIOU's by
    width and height take the aspect's angle for h and -w. Boxes apart share the product of their negative distances.
    """
    low, high = _edges(boxes)
    true_low, true_high = _edges(truth)
    other = [1, 0]  # the side across each edge
    shared = np.minimum(high, true_high) - np.maximum(low, true_low)
    intersection = shared[:, :1] * shared[:, 1:]
    union = _areas(boxes)[:, None] + _areas(truth)[:, None] - intersection
    apart = (shared <= 0).any(1, keepdims=True)
    # by the lower and by the higher edges, (M, 2) each
    own = np.stack([-boxes[:, 2:][:, other], boxes[:, 2:][:, other]])
    inner = np.stack([low > true_low, high < true_high])
    of_intersection = inner * np.stack([-shared[:, other], shared[:, other]])
    of_union = own - of_intersection
    by_edges = _divided(union * of_intersection - intersection * of_union, union * union)
    around = np.maximum(high, true_high) - np.minimum(low, true_low)
    outer = np.stack([low < true_low, high > true_high])
    if measure is Measure.GIOU:
        whole = around[:, :1] * around[:, 1:]
        of_whole = outer * np.stack([-around[:, other], around[:, other]])
        term = _divided(whole * of_union - union * of_whole, whole * whole)
        by_edges = np.where(apart, term, by_edges + term)
    by_box = np.concatenate([by_edges[0] + by_edges[1], by_edges[1] - by_edges[0]], 1)
    if measure in (Measure.DIOU, Measure.CIOU):
        diagonal = _squares(around)[:, None]
        away = truth[:, :2] - boxes[:, :2]
        distance = _squares(away)[:, None]
        moved = outer[1].astype(boxes.dtype) - outer[0]
        grown = (outer[1].astype(boxes.dtype) + outer[0]) / 2
        by_centre = 2 * away * diagonal - 2 * around * moved * distance
        by_size = 2 * around * grown * distance
        term = _divided(np.concatenate([by_centre, by_size], 1), diagonal * diagonal)
        if measure is Measure.CIOU:
            aspects = _aspect_term(boxes, truth)
            weight = aspects / (1 - _divided(intersection, union)[:, 0] + aspects + _SMALL)
            turn = 8 / np.pi**2 * weight * _aspect_difference(boxes, truth)
            term[:, 2] += turn * boxes[:, 3]
            term[:, 3] -= turn * boxes[:, 2]
        by_box = np.where(apart, term, by_box + term)
    return by_box


def _edges(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = corners(boxes)
    return edges[:, :2], edges[:, 2:]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return boxes[..., 2] * boxes[..., 3]


def _squares(vectors: np.ndarray) -> np.ndarray:
    return (vectors * vectors).sum(-1)


def _aspect_difference(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.arctan(truth[..., 2] / truth[..., 3]) - np.arctan(boxes[..., 2] / boxes[..., 3])


def _aspect_term(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return 4 / np.pi**2 * _aspect_difference(boxes, truth) ** 2


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, and 0 where b is not above 0."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    return np.divide(a, b, out=np.zeros(shape, a.dtype), where=np.broadcast_to(b > 0, shape))
