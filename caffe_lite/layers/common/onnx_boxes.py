"""Boxes in ONNX: decoding, and the best ones that no better one overlaps too much.

Boxes are values (..., 4) of corners, x1, y1, x2, y2. Lists of them come with scores, which are -inf for those that are
gone; so lists of any length lie in tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.boxes import FAR, CodeType
from ...onnx_graph import FLOAT, OnnxGraph, Operand, Value

_LOWEST = float(np.finfo(np.float32).min)  # only -inf is below


def ends(g: OnnxGraph, boxes: Operand) -> tuple[Value, Value]:
    """Return the first and the second half of vectors (..., 4)."""
    vectors = g.value(boxes)
    return g.slice(vectors, [0], [2], [-1]), g.slice(vectors, [2], [4], [-1])


def corners(g: OnnxGraph, centre: Operand, size: Operand) -> Value:
    """Return the boxes of these centres (..., 2) and sizes (..., 2)."""
    half = g.Div(size, 2.0)
    boxes: Value = g.Concat(g.Sub(centre, half), g.Add(centre, half), axis=-1)
    return boxes


def decoded(g: OnnxGraph, code: int, coded: Value, priors: Value, variances: Value | None) -> Value:
    """Write ``data.boxes.decode``."""
    if variances is not None:
        coded = g.Mul(coded, variances)
    if code == CodeType.CORNER:
        boxes: Value = g.Add(priors, coded)
        return boxes
    near, far = ends(g, priors)
    size = g.Sub(far, near)
    if code == CodeType.CORNER_SIZE:
        boxes = g.Add(priors, g.Mul(coded, g.Concat(size, size, axis=-1)))
        return boxes
    shift, factor = ends(g, coded)
    centre = g.Add(g.Mul(shift, size), g.Div(g.Add(near, far), 2.0))
    return corners(g, centre, g.Mul(g.Exp(factor), size))


def from_deltas(g: OnnxGraph, boxes: Operand, deltas: Value) -> Value:
    """Write ``data.boxes.from_deltas``."""
    near, far = ends(g, boxes)
    shift, factor = ends(g, deltas)
    size = g.Add(g.Sub(far, near), 1.0)
    centre = g.Add(g.Mul(shift, size), g.Add(near, g.Div(size, 2.0)))
    return corners(g, centre, g.Mul(g.Exp(factor), size))


def clipped_inside(g: OnnxGraph, boxes: Value, corner: Operand) -> Value:
    """Write ``data.boxes.clip_inside`` for the corner x, y (..., 2)."""
    near, far = ends(g, boxes)
    clipped: Value = g.Concat(g.Max(near, 0.0), g.Min(far, corner), axis=-1)
    return clipped


def sorted_scores(g: OnnxGraph, scores: Value, count: int | Value) -> tuple[Value, Value]:
    """Return so many of the scores along the last axis, best first, and their positions.

    Equal scores stay in order.
    """
    values, index = g.TopK(scores, _vector(count), axis=-1, outputs=2)
    return values, index


def without_overlapped(
    g: OnnxGraph,
    boxes: Value,
    scores: Value,
    overlap: float,
    *,
    most: int | Value,
    above: float = -np.inf,
    inclusive: bool = False,
) -> Value:
    """Write ``data.boxes.nms`` for lists of boxes (B, K, 4), best first: return their scores (B, K), -inf if not kept.

    At most ``most`` of each list are kept, those with scores larger than ``above``.
    """
    near, far = g.slice(boxes, [0], [2], [-1]), g.slice(boxes, [2], [4], [-1])
    if inclusive:
        far = g.Add(far, 1.0)
    # The operator would turn inverted boxes round. Here they have no area.
    upright = g.Clip(g.Concat(near, g.Max(near, far), axis=-1), -FAR, FAR)
    limits = (np.array([limit], np.float32) for limit in (min(overlap, 1), max(above, _LOWEST)))
    kept = g.NonMaxSuppression(upright, g.Unsqueeze(scores, [1]), _vector(most), *limits)
    place = g.Gather(kept, [0, 2], axis=1)
    left: Value = g.ScatterND(gone(g, scores), place, g.GatherND(scores, place))
    return left


def gone(g: OnnxGraph, scores: Value) -> Value:
    """Return -inf for each score."""
    nothing: Value = g.ConstantOfShape(g.Shape(scores), value=np.array([-np.inf], np.float32))
    return nothing


def best_of_all(g: OnnxGraph, scores: Value, count: int | Value) -> Value:
    """Return scores (N, M), -inf for all but so many of the best ones of each row."""
    best, index = sorted_scores(g, scores, count)
    left: Value = g.ScatterElements(gone(g, scores), index, best, axis=1)
    return left


def places(g: OnnxGraph, scores: Value) -> Value:
    """Return where the scores are that are not gone, in order: (S, axes of the scores)."""
    index: Value = g.Transpose(g.NonZero(g.Greater(scores, -np.inf)), perm=[1, 0])
    return index


def unless_any(g: OnnxGraph, rows: Value, scores: Value, row: Sequence[float] | float) -> Value:
    """Append a row (n), or a number, to rows (S, n), or numbers (S), if no score (N, M) is left."""
    best = g.reduce("ReduceMax", scores, [0, 1], keepdims=False)
    nothing = g.Squeeze(g.NonZero(g.Not(g.Greater(g.Unsqueeze(best, [0]), -np.inf))), [0])
    appended: Value = g.Concat(rows, g.Gather(np.array([row], np.float32), nothing), axis=0)
    return appended


def column(g: OnnxGraph, place: Value, axis: int) -> Value:
    """Return one index of each place, as floats (S, 1)."""
    index: Value = g.Cast(g.slice(place, [axis], [axis + 1], [1]), to=FLOAT)
    return index


def _vector(count: int | Value) -> Operand:
    return count if isinstance(count, Value) else [count]
