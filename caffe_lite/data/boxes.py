"""Boxes of detection layers: sizes, overlaps, suppression of duplicates; how SSD and R-CNN express them.

Boxes are NumPy arrays (..., 4) of corners, x1, y1, x2, y2. ``inclusive``: x2 and y2 are the last pixels of a box, not
the ends of its area, so that its width is x2 - x1 + 1. This is how R-CNN counts, and SSD where boxes are in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, IntEnum

import numpy as np

FAR = 1e18  # areas of boxes up to there are finite, in float32 too
_BLOCK = 256  # candidates for which overlaps are computed at a time


class Measure(Enum):
    """What the area that two boxes share is divided by; the values are the names that Cascade R-CNN gives them."""

    UNION = "IOU"
    SMALLER = "IOMU"
    FIRST = "IOFU"


def areas(boxes: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Return the areas (...); that of an inverted box, whose width or height is negative, is 0."""
    sides = boxes[..., 2:] - boxes[..., :2]
    if inclusive:
        sides += 1
    np.maximum(sides, 0, out=sides)
    return sides[..., 0] * sides[..., 1]


def overlaps(a: np.ndarray, b: np.ndarray, inclusive: bool = False, measure: Measure = Measure.UNION) -> np.ndarray:
    """Return the overlap of each of the boxes a (..., M, 4) with each of the boxes b (..., N, 4): (..., M, N).

    It is the area they share, divided by that of their union, of the smaller one, or of a.
    """
    # Each coordinate by itself, so that it lies in one piece.
    a_lines = np.ascontiguousarray(np.moveaxis(a, -1, 0))
    b_lines = a_lines if b is a else np.ascontiguousarray(np.moveaxis(b, -1, 0))
    ax1, ay1, ax2, ay2 = a_lines[..., :, None]
    bx1, by1, bx2, by2 = b_lines[..., None, :]
    shared = np.minimum(ax2, bx2) - np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2) - np.maximum(ay1, by1)
    if inclusive:
        shared += 1
        height += 1
    np.maximum(shared, 0, out=shared)
    shared *= np.maximum(height, 0, out=height)
    of_b = areas(b, inclusive)[..., None, :]
    of_a = areas(a, inclusive)[..., :, None]
    if measure is Measure.UNION:
        whole = np.add(of_a, of_b, out=height)
        whole -= shared
    else:
        whole = np.minimum(of_a, of_b if measure is Measure.SMALLER else np.inf, out=height)
    return np.divide(shared, np.maximum(whole, np.finfo(whole.dtype).tiny, out=whole), out=shared)


def shared_areas(a: np.ndarray, b: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Return the area that each box a (..., 4) shares with the box b (..., 4) at its place: (...)."""
    inner = np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], -1)
    return areas(inner, inclusive)


def paired_overlaps(a: np.ndarray, b: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Return the intersection over union of each box a (..., 4) with the box b (..., 4) at its place: (...)."""
    shared = shared_areas(a, b, inclusive)
    union = areas(a, inclusive) + areas(b, inclusive) - shared
    return shared / np.maximum(union, np.finfo(union.dtype).tiny)


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes (..., 4) of these centres, widths and heights: x, y, w, h."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def centred(boxes: np.ndarray) -> np.ndarray:
    """Return the centres, widths and heights (..., 4) of boxes: x, y, w, h."""
    return np.concatenate([_centres(boxes), _sizes(boxes)], -1)


def clip(boxes: np.ndarray, x: float = 1.0, y: float = 1.0) -> np.ndarray:
    """Return the boxes with their corners moved into the rectangle from 0, 0 to x, y."""
    return np.clip(boxes, 0, np.array([x, y, x, y], boxes.dtype))


def clip_inside(boxes: np.ndarray, x: float, y: float) -> None:
    """Cut boxes off at 0, 0 and at x, y, in place; those beyond become inverted."""
    np.maximum(boxes[..., :2], 0, out=boxes[..., :2])
    np.minimum(boxes[..., 2:], np.array([x, y], boxes.dtype), out=boxes[..., 2:])


def best_first(scores: np.ndarray, most: int | None = None, above: float = -np.inf) -> np.ndarray:
    """Return the positions of the scores that are larger than ``above``, at most ``most``, largest score first.

    Equal scores stay in order.
    """
    index = np.flatnonzero(scores > above)
    if most is not None and 0 < most < len(index):
        candidates = scores[index]
        index = index[candidates >= np.partition(candidates, -most)[-most]]
    return index[np.argsort(-scores[index], kind="stable")][:most]


def nms(
    boxes: np.ndarray,
    threshold: float,
    *,
    eta: float = 1.0,
    most: int | None = None,
    inclusive: bool = False,
    measure: Measure = Measure.UNION,
) -> np.ndarray:
    """Return the positions of the boxes, best first, that no better kept one overlaps by more than ``threshold``.

    With ``eta`` below 1 the threshold is multiplied by it after each kept box as long as it is above 0.5. At most
    ``most`` boxes are kept. Boxes are taken to end at 1e18, because beyond it overlaps would not be numbers.
    """
    boxes = boxes.clip(-FAR, FAR)
    bound = boxes.dtype.type(threshold)
    kept: list[int] = []
    for start in range(0, len(boxes), _BLOCK):
        block = boxes[start : start + _BLOCK]
        index, worst = np.arange(start, start + len(block)), np.zeros(len(block), boxes.dtype)
        if kept:
            worst = overlaps(boxes[kept], block, inclusive, measure).max(0)
            good = worst <= bound
            block, index, worst = block[good], index[good], worst[good]
        among = overlaps(block, block, inclusive, measure)
        if eta < 1:
            free, bound = _free_of_adaptive(among, worst, bound, eta)
        else:
            free = _free(among, bound)
        kept += index[free].tolist()
        if most is not None and len(kept) >= most:
            return np.array(kept[:most], int)
    return np.array(kept, int)


def _free(overlaps: np.ndarray, bound: float) -> np.ndarray:
    """Return whether each box is kept, by the overlaps of all with all."""
    conflicts = ~(overlaps <= bound)
    free = np.ones(len(overlaps), bool)
    for row in range(len(overlaps)):
        if free[row]:
            worse = free[row + 1 :]
            np.greater(worse, conflicts[row, row + 1 :], out=worse)
    return free


def _free_of_adaptive(
    overlaps: np.ndarray, worst: np.ndarray, bound: np.floating, eta: float
) -> tuple[np.ndarray, np.floating]:
    """Do as ``_free`` with a bound that falls; ``worst`` are the overlaps with boxes kept before. Return the bound."""
    free = np.zeros(len(overlaps), bool)
    for row, own in enumerate(overlaps):
        if worst[row] <= bound:
            free[row] = True
            np.maximum(worst, own, out=worst)
            if bound > 0.5:
                bound *= bound.dtype.type(eta)
    return free, bound


def nms_of_many(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return which boxes ``nms`` would keep of each of many short lists (K, M, 4): (K, M)."""
    boxes = boxes.clip(-FAR, FAR)
    conflicts = ~(overlaps(boxes, boxes) <= boxes.dtype.type(threshold))
    free = np.ones(boxes.shape[:-1], bool)
    for row in range(boxes.shape[1]):
        worse = free[:, row + 1 :]
        np.greater(worse, conflicts[:, row, row + 1 :] & free[:, row, None], out=worse)
    return free


class CodeType(IntEnum):
    """How SSD expresses a box relative to a prior box; the numbers are those of PriorBoxParameter.CodeType."""

    CORNER = 1
    CENTER_SIZE = 2
    CORNER_SIZE = 3


def encode(
    code: CodeType | int, boxes: np.ndarray, priors: np.ndarray, variances: np.ndarray | None = None
) -> np.ndarray:
    """Return the numbers (..., 4) that express the boxes relative to priors; they are divided by any variances.

    CORNER: box - prior; CORNER_SIZE: (box - prior) / size of the prior; CENTER_SIZE: (centre - centre of the prior) /
    size of the prior, log(size / size of the prior).
    """
    if code == CodeType.CENTER_SIZE:
        size = _sizes(priors)
        shifts = (_centres(boxes) - _centres(priors)) / size
        coded = np.concatenate([shifts, np.log(_sizes(boxes) / size)], -1)
    else:
        coded = boxes - priors
        if code == CodeType.CORNER_SIZE:
            coded = coded / np.concatenate([_sizes(priors)] * 2, -1)
    return coded if variances is None else coded / variances


def decode(
    code: CodeType | int, coded: np.ndarray, priors: np.ndarray, variances: np.ndarray | None = None
) -> np.ndarray:
    """Return the boxes (..., 4) that numbers express relative to priors, as ``encode`` returns them."""
    if variances is not None:
        coded = coded * variances
    if code == CodeType.CORNER:
        return priors + coded
    size = _sizes(priors)
    if code == CodeType.CORNER_SIZE:
        return priors + coded * np.concatenate([size] * 2, -1)
    centre = coded[..., :2] * size + _centres(priors)
    return corners(np.concatenate([centre, np.exp(coded[..., 2:]) * size], -1))


def _sizes(boxes: np.ndarray) -> np.ndarray:
    return boxes[..., 2:] - boxes[..., :2]


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def anchors(
    base: float, ratios: Sequence[float], scales: Sequence[float], rounded: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return R-CNN's anchors (A, 4) around a square of ``base`` pixels at 0, 0; all scales of the first ratio first.

    A ratio is height over width. Width and height are rounded before they are multiplied by a scale.
    """
    width = rounded(np.sqrt(base * base / np.asarray(ratios, float)))
    sizes = np.stack([width, rounded(width * ratios)], 1)[:, None] * np.asarray(scales, float)[:, None]
    half = (sizes.reshape(-1, 2) - 1) / 2
    return (base - 1) / 2 + np.concatenate([-half, half], 1)


def on_grid(anchors: np.ndarray, height: int, width: int, stride: tuple[float, float]) -> np.ndarray:
    """Return the anchors (A, 4) at each place of a map, (height, width, A, 4), ``stride`` (down, across) apart."""
    y, x = np.arange(height) * stride[0], np.arange(width) * stride[1]
    shift = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    return anchors + np.concatenate([shift, shift], -1)[:, :, None]


def to_deltas(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return R-CNN's numbers (..., 4) that express targets relative to boxes; pixels are counted inclusively.

    They are the shift of the centre over the size of the box, and log(size of the target / size of the box).
    """
    size, target_size = _sizes(boxes) + 1, _sizes(targets) + 1
    shift = targets[..., :2] - boxes[..., :2] + (target_size - size) / 2
    return np.concatenate([shift / size, np.log(target_size / size)], -1)


def from_deltas(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Return the boxes (..., 4) that R-CNN's numbers express relative to boxes.

    As in the original they end one pixel further right and down than those from which ``to_deltas`` made the numbers.
    """
    boxes = boxes.astype(deltas.dtype, copy=False)
    size = _sizes(boxes) + 1
    centre = deltas[..., :2] * size + (boxes[..., :2] + size / 2)
    return corners(np.concatenate([centre, np.exp(deltas[..., 2:]) * size], -1))
