"""SSD's choices in training: which boxes are to find which objects, and which examples are hard."""

from __future__ import annotations

import numpy as np

from ...data.boxes import areas, best_first, nms, overlaps

UNMATCHED, IGNORED = -1, -2
_TOUCHING = 1e-6  # the largest overlap that counts as none
_SMALL = 1e-5  # boxes with a smaller area are never chosen where boxes are compared
_ROWS = 4096  # scores that are worked on at a time, so that they stay in a core's cache
_SAFE = 60.0  # exp of such a number, and a sum of these, is far from overflow


def match(
    truth: np.ndarray, boxes: np.ndarray, threshold: float | None, within_image: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of the boxes (P, 4) the number of its true box (G, 4) or UNMATCHED; and its largest overlap.

    First each true box gets a box of its own: the pair that overlaps most is taken, then the best of the remaining
    ones, and so on. Then, unless ``threshold`` is None, each remaining box gets the true box that it overlaps most, if
    by at least the threshold. With ``within_image``, boxes with a corner outside 0 to 1 are IGNORED, their overlap is
    0.
    """
    shared = overlaps(truth, boxes)
    crossing = ((boxes < 0) | (boxes > 1)).any(1) if within_image else np.zeros(len(boxes), bool)
    shared[:, crossing] = 0
    largest = shared.max(0, initial=0)
    number = np.full(len(boxes), UNMATCHED)
    number[crossing] = IGNORED
    if threshold is not None and len(truth):
        near = np.flatnonzero((largest >= threshold) & (largest > _TOUCHING))
        number[near] = shared[:, near].argmax(0)
    _match_one_to_one(shared, number)
    return number, largest


def _match_one_to_one(shared: np.ndarray, number: np.ndarray) -> None:
    """Write into ``number`` the true box of those boxes that get one of their own; overwrite overlaps (G, P)."""
    if not shared.size:
        return
    box = shared.argmax(1)
    best = shared[np.arange(len(box)), box]
    while (most := best.max()) > _TOUCHING:
        equal = np.flatnonzero(best == most)
        chosen = equal[box[equal].argmin()]
        taken = box[chosen]
        number[taken] = chosen
        shared[:, taken] = best[chosen] = 0
        others = np.flatnonzero((box == taken) & (best > 0))
        box[others] = shared[others].argmax(1)
        best[others] = shared[others, box[others]]


def hardest(
    losses: np.ndarray,
    most: int,
    boxes: np.ndarray | None = None,
    threshold: float = 0.0,
    top_k: int = 0,
) -> np.ndarray:
    """Return the positions of at most ``most`` examples, largest loss first; of equal losses the earlier come first.

    With ``boxes``, one that overlaps a harder one by more than ``threshold`` is passed over, and only the ``top_k``
    hardest are considered, unless that is 0.
    """
    if boxes is None:
        return best_first(losses, most)[:most]
    order = best_first(losses, top_k or None)
    order = order[areas(boxes[order]) >= _SMALL]
    return order[nms(boxes[order], threshold, most=most)]


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of exp(x) along the last axis: (N, C) to (N,)."""
    out, ones = np.empty(len(x), x.dtype), np.ones(x.shape[1], x.dtype)
    for start in range(0, len(x), _ROWS):
        rows, sums = x[start : start + _ROWS], out[start : start + _ROWS]
        if rows.min() > -_SAFE and rows.max() < _SAFE:
            np.log(np.exp(rows) @ ones, out=sums)
        else:
            largest = rows.max(1, keepdims=True)
            np.log(np.exp(rows - largest) @ ones, out=sums)
            sums += largest[:, 0]
    return out
