"""Suppression of boxes that overlap better ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > np.float32(score_threshold)]
    kept: list[int] = []
    threshold = nms_threshold
    for index in order[:top_k] if top_k > 0 else order:
        if (_overlaps(boxes[index], boxes[kept]) <= threshold).all():
            kept.append(index)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return np.array(kept, np.int32) if kept else ()


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
    left, free = left.copy(), np.ones(len(boxes), bool)
    indices: list[int] = []
    updated: list[np.float32] = []
    while len(indices) < (min(top_k, len(boxes)) if top_k else len(boxes)):
        best = int(np.argmax(np.where(free, left, -np.inf)))
        if left[best] < score_threshold:
            break
        indices.append(best)
        updated.append(left[best])
        free[best] = False
        overlap = _overlaps(boxes[best], boxes)
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
    boxes, values = np.asarray(bboxes, np.float64).reshape(-1, 4), np.asarray(scores, np.float32).ravel()
    if len(boxes) != len(values):
        raise ArgumentError(f"there are {len(boxes)} boxes and {len(values)} scores", hint="give one score for each")
    return boxes, values


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what a box and each of the others have in common, as a fraction of their union."""
    ends = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    sides = np.maximum(ends - np.maximum(box[:2], others[:, :2]), 0)
    common = sides.prod(1)
    union = box[2:].prod() + others[:, 2:].prod(1) - common
    return np.divide(common, union, out=np.ones_like(common), where=union > 0)
