"""What the anchors of a region proposal network should say of an image: the object of each, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from ...data.boxes import Measure, overlaps
from ...data.transform import Shape
from ...data.windows.detection_batches import Area
from ...data.windows.object_file import CORNERS, IGNORE, LABEL

CHANNELS = 6  # label, centre x, y, width and height of the object, overlap
_LABEL, _BOX, _OVERLAP = 0, slice(1, 5), 5


@dataclass(frozen=True)
class AnchorMap:
    """Anchors of one size, one in the middle of each cell of stride x stride pixels."""

    stride: int
    width: int
    height: int

    def size(self, pixels: Any) -> Any:
        """Return how many cells there are along a side of so many pixels."""
        return floor(pixels / self.stride + 0.5)


@dataclass(frozen=True)
class AnchorRules:
    """What an anchor should say: the object that it overlaps most, if it does so by more than fg_threshold.

    It then gets the object's label, or 0 if the object is to be ignored, and its box. One with the overlap 1 and label
    0 does not count: it is in the empty part of an image, or regions of no interest cover at least ignore_fg_threshold
    of it, or it lies too far out of the image: by more than anchor_ignore_margin_ratio of half its size; or, if that is
    not given, with less than anchor_ignore_iou_thr of its area inside. An object that thereby got no anchor gets the
    one in whose cell its centre lies, among the anchors that overlap it best, if they do so by at least pickup_iou_thr.
    """

    fg_threshold: float
    ignore_fg_threshold: float
    pickup_iou_thr: float
    anchor_ignore_margin_ratio: float | None = None
    anchor_ignore_iou_thr: float | None = None


def truth_of(
    maps: list[AnchorMap],
    rules: AnchorRules,
    size: Shape,
    area: Area,
    objects: np.ndarray,
    regions: np.ndarray,
) -> list[np.ndarray]:
    """Return for each map what its anchors should say, (6, H, W), in an image of ``size`` (height, width).

    ``regions`` are those of no interest.
    """
    truth, best = [], np.zeros((len(maps), len(objects)), np.float32)
    matched = np.zeros(len(objects), bool)
    for at, anchors in zip(best, maps, strict=True):
        values, shares, own = _of_map(anchors, rules, size, area, objects, regions)
        truth.append(values)
        at[:] = shares
        matched |= own
    if maps:
        _pick_up(truth, maps, rules, objects, best, matched)
    return truth


def _of_map(
    anchors: AnchorMap,
    rules: AnchorRules,
    size: Shape,
    area: Area,
    objects: np.ndarray,
    regions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the anchors of a map should say, how well they fit each object at best, and which objects got one."""
    height, width = map(anchors.size, size)
    values = np.zeros((CHANNELS, height, width), np.float32)
    boxes = _boxes(anchors, height, width)
    counts = _inside(anchors, area, height, width) & _near(anchors, rules, area, boxes)
    values[_OVERLAP] = ~counts
    boxes = boxes[counts]
    shares = overlaps(objects[:, CORNERS], boxes, inclusive=True)
    overlap = shares.max(0, initial=0)
    positive = overlap > np.float32(rules.fg_threshold)
    match = shares[:, positive].argmax(0) if len(objects) else np.zeros(0, int)
    if len(regions):
        covered = overlaps(boxes, regions, inclusive=True, measure=Measure.FIRST).sum(1)
        overlap[~positive & (covered >= np.float32(rules.ignore_fg_threshold))] = 1
    columns = np.zeros((CHANNELS, len(boxes)), np.float32)
    columns[_LABEL, positive] = _labels(objects)[match]
    columns[_BOX, positive] = _centred(objects)[match].T
    columns[_OVERLAP] = overlap
    values[:, counts] = columns
    return values, shares.max(1, initial=0), np.bincount(match, minlength=len(objects)).astype(bool)


def _boxes(anchors: AnchorMap, height: int, width: int) -> np.ndarray:
    """Return the anchors (H, W, 4), whose ends lie half their size from the middle of their cell."""
    x, y = ((np.arange(count, dtype=np.float32) + np.float32(0.5)) * anchors.stride for count in (width, height))
    middle = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    half = np.array([anchors.width / 2, anchors.height / 2], np.float32)
    return np.concatenate([middle - half, middle + half], -1)


def _inside(anchors: AnchorMap, area: Area, height: int, width: int) -> np.ndarray:
    """Return which cells show the image."""
    inside = np.zeros((height, width), bool)
    left, top, columns, rows = map(anchors.size, (area.left, area.top, area.width, area.height))
    inside[top : top + rows, left : left + columns] = True
    return inside


def _near(anchors: AnchorMap, rules: AnchorRules, area: Area, boxes: np.ndarray) -> np.ndarray:
    """Return which anchors do not lie too far out of the image."""
    x2, y2 = area.left + area.width, area.top + area.height
    if rules.anchor_ignore_margin_ratio is not None:
        margin = rules.anchor_ignore_margin_ratio / 2 * np.array([anchors.width, anchors.height], np.float32)
        start, end = np.array([area.left, area.top]) - margin, np.array([x2, y2]) + margin
        return (boxes[..., :2] >= start).all(-1) & (boxes[..., 2:] < end).all(-1)
    if rules.anchor_ignore_iou_thr is not None:
        image = np.array([[area.left, area.top, x2, y2]], np.float32)
        shares = overlaps(boxes.reshape(-1, 4), image, inclusive=True, measure=Measure.FIRST)
        return (shares >= np.float32(rules.anchor_ignore_iou_thr)).reshape(boxes.shape[:2])
    return np.ones(boxes.shape[:2], bool)


def _labels(objects: np.ndarray) -> np.ndarray:
    return np.where(objects[:, IGNORE] != 0, 0, objects[:, LABEL])


def _centred(objects: np.ndarray) -> np.ndarray:
    """Return the centre x, y, width and height of objects, whose ends are pixels."""
    start, end = np.split(objects[:, CORNERS], 2, 1)
    return np.concatenate([(start + end) / 2, end - start + 1], 1)


def _pick_up(
    truth: list[np.ndarray],
    maps: list[AnchorMap],
    rules: AnchorRules,
    objects: np.ndarray,
    best: np.ndarray,
    matched: np.ndarray,
) -> None:
    """Give an anchor to each object that has none."""
    boxes, overlap = _centred(objects), best.max(0)
    lost = ~matched & (objects[:, IGNORE] == 0) & (overlap >= np.float32(rules.pickup_iou_thr))
    for index in np.flatnonzero(lost).tolist():
        at = int(best[:, index].argmax())
        values = truth[at]
        column, row = (boxes[index, :2] // maps[at].stride).astype(int).clip(0, [n - 1 for n in values.shape[:0:-1]])
        if values.size and values[_LABEL, row, column] <= 0:
            values[:, row, column] = [objects[index, LABEL], *boxes[index], overlap[index]]
