"""Suppression of boxes that overlap better ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.boxes import areas, best_first, nms, overlaps
from ..errors import ArgumentError
from .constants import SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN, SOFT_NMSMETHOD_SOFTNMS_LINEAR


def NMSBoxes(
    bboxes: Sequence[Sequence[float]] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> np.ndarray | tuple[()]:
    """Return the indices of the boxes (x, y, width, height) to keep, the best first, as int32; () if there are none.

    A box goes if its score is not above ``score_threshold``, or if it overlaps a better one that is kept by more than
    ``nms_threshold`` of their union. Of more than ``top_k`` boxes, only that many best are looked at. With an ``eta``
    below 1, the threshold shrinks with every box that is kept, as long as it is above 0.5.
    """
    boxes, values = _checked(bboxes, scores)
    order = best_first(values, top_k if top_k > 0 else None, float(np.float32(score_threshold)))
    empty = areas(boxes[order]) == 0
    order = order[~empty | (empty.cumsum() == 1)]  # to OpenCV, two boxes without an area are the same
    kept = order[nms(boxes[order], nms_threshold, eta=eta)]
    return kept.astype(np.int32) if len(kept) else ()


def softNMSBoxes(
    bboxes: Sequence[Sequence[float]] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    score_threshold: float,
    nms_threshold: float,
    top_k: int = 0,
    sigma: float = 0.5,
    method: int = SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN,
) -> tuple[np.ndarray | tuple[()], np.ndarray | tuple[()]]:
    """Return the scores after suppression, and the indices of the boxes, the best first; () for none.

    A box that overlaps a better one is not dropped, but its score shrinks: by exp(-overlap^2 / sigma), or linearly, by
    1 - overlap if that is above ``nms_threshold``. Source: Bodla et al. 2017, https://arxiv.org/abs/1704.04503.
    """
    if method not in (SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN, SOFT_NMSMETHOD_SOFTNMS_LINEAR):
        raise ArgumentError(f"method is {method}", hint="it is SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN or ..._LINEAR")
    boxes, left = _checked(bboxes, scores)
    left, free, sizes = left.copy(), np.ones(len(boxes), bool), areas(boxes)
    indices: list[int] = []
    updated: list[np.float32] = []
    while len(indices) < (min(top_k, len(boxes)) if top_k else len(boxes)):
        best = int(np.argmax(np.where(free, left, -np.inf)))
        if left[best] < score_threshold:
            break
        indices.append(best)
        updated.append(left[best])
        free[best] = False
        overlap = overlaps(boxes[best : best + 1], boxes)[0]
        overlap[(sizes == 0) & (sizes[best] == 0)] = 1
        if method == SOFT_NMSMETHOD_SOFTNMS_LINEAR:
            factor = np.where(overlap > nms_threshold, 1 - overlap, 1)
        else:
            factor = np.exp(-(overlap**2) / np.float32(sigma))
        shrinks = free & (left >= score_threshold)
        left[shrinks] *= factor[shrinks].astype(np.float32)
    return (np.array(updated, np.float32), np.array(indices, np.int32)) if indices else ((), ())


def _checked(
    bboxes: Sequence[Sequence[float]] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes by their corners, and scores; refuse them if there are not as many of both."""
    boxes, values = np.array(bboxes, np.float64).reshape(-1, 4), np.asarray(scores, np.float32).ravel()
    if len(boxes) != len(values):
        raise ArgumentError(f"there are {len(boxes)} boxes and {len(values)} scores", hint="give one score for each")
    boxes[:, 2:] += boxes[:, :2]
    return boxes, values
