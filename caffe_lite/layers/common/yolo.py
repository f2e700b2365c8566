"""What YOLO's layers share: the boxes that maps predict, the true boxes, and duplicates. NumPy, on the host.

Boxes are x, y, width, height, with the centre at x, y, in fractions of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from ...blobs import Blob
from ...data.boxes import centred, corners, nms
from ...layer import Layer
from ...onnx_graph import OnnxGraph, Value
from ...ops.array import Array
from ...ops.base import Ops
from . import onnx_boxes


def by_place(maps: np.ndarray) -> np.ndarray:
    """Return maps (N, A, values, H, W), as ``check_maps`` shapes them, as (N, A, H, W, values)."""
    return np.moveaxis(maps, 2, 4)


def predicted_boxes(offsets: np.ndarray, sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the boxes (N, A, H, W, 4) of A anchors at each place of a map.

    ``offsets`` (N, A, H, W, 2) are those of the centres in the cells, from 0 to 1, and ``sizes`` (N, A, H, W, 2) the
    logarithms of widths and heights in units of the anchors (A, 2), which are fractions of the image.
    """
    height, width = offsets.shape[2:4]
    cells = np.stack(np.broadcast_arrays(np.arange(width), np.arange(height)[:, None]), -1)
    centres = (offsets + cells.astype(offsets.dtype)) / np.array([width, height], offsets.dtype)
    with np.errstate(over="ignore"):
        lengths = np.exp(sizes) * anchors[:, None, None].astype(sizes.dtype)
    return np.concatenate([centres, lengths], -1)


def written_by_place(g: OnnxGraph, maps: Value, shape: tuple[int, ...]) -> Value:
    """Write maps (N, A values, H, W) in the order in which their boxes are listed: (N, H, W, A, values).

    ``shape`` is (N, A, values, H, W), of which N is not read.
    """
    by_place: Value = g.Transpose(g.reshape(maps, (maps.sizes[0], *shape[1:])), perm=[0, 3, 4, 1, 2])
    return by_place


def written_boxes(g: OnnxGraph, offsets: Value, sizes: Value, anchors: np.ndarray, shape: tuple[int, ...]) -> Value:
    """Write ``predicted_boxes``, as corners and in the order of ``written_by_place``, for offsets and sizes so ordered:
    (N, H W A, 4)."""
    number, _, height, width = shape[1:]
    cells = np.stack(np.broadcast_arrays(np.arange(width), np.arange(height)[:, None]), -1)[:, :, None]
    centres = g.Div(g.Add(offsets, cells.astype(np.float32)), np.array([width, height], np.float32))
    boxes = onnx_boxes.corners(g, centres, g.Mul(g.Exp(sizes), anchors.astype(np.float32)))
    return g.reshape(boxes, (None, height * width * number, 4))


class Version2(NamedTuple):
    """What maps of YOLO version 2 predict at each place: boxes (N, A, H, W, 4), objectness, and classes (..., C)."""

    boxes: np.ndarray
    objectness: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, ops: Ops[Array], maps: Array, anchors: np.ndarray) -> Version2:
        """Decode maps (N, A, 5 + C, H, W); the sizes of anchors (A, 2) are numbers of places."""
        raw = by_place(ops.host_view(maps))
        active = by_place(ops.host_view(ops.sigmoid(maps[:, :, :5])))
        classes = by_place(ops.host_view(ops.softmax(maps[:, :, 5:], 2)))
        boxes = predicted_boxes(active[..., :2], raw[..., 2:4], anchors / [maps.shape[4], maps.shape[3]])
        return cls(boxes, active[..., 4], classes)


def distinct(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return the positions of the boxes (M, 4), best first, that no better one of these overlaps by ``threshold``."""
    return nms(corners(boxes), just_below(boxes.dtype.type(threshold)))


def just_below(threshold: np.floating) -> float:
    """Return the largest overlap below a threshold, because nms allows an overlap of the bound itself."""
    return float(np.nextafter(threshold, threshold.dtype.type(0)))


def anchors_of(layer: Layer, biases: Sequence[float], least: int = 1) -> np.ndarray:
    """Return the widths and heights of anchors, (B, 2)."""
    if len(biases) % 2 or len(biases) < 2 * least:
        layer.error(
            f"there are {len(biases)} biases",
            f"give the width and the height of each anchor, {2 * least} numbers or more",
        )
    if not min(biases) > 0:
        layer.error(f"one of the biases is {min(biases):g}", "widths and heights of anchors are above 0")
    return np.array(biases, float).reshape(-1, 2)


def check_maps(layer: Layer, maps: Blob, anchors: int, values: int) -> tuple[int, int, int, int, int]:
    """Return the shape (N, A, values, H, W) in which maps (N, A values, H, W) are read."""
    shape = maps.shape
    if len(shape) != 4 or shape[1] != anchors * values:
        layer.error(
            f"the maps have the shape {shape}, and {anchors} anchors need {values} numbers each",
            f"give (N, {anchors * values}, H, W)",
        )
    if not shape[2] or not shape[3]:
        layer.error(f"the maps have the shape {shape}, without a place", "give them a height and a width")
    return (shape[0], anchors, values, shape[2], shape[3])


class Truth(NamedTuple):
    """The true boxes of a batch, in their order: image, class from 0 on, and box (M, 4) of each."""

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray

    def cells(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the row and the column of the cell in which the centre of each box lies."""
        x, y = np.trunc(self.box[:, :2] * np.array([width, height], self.box.dtype)).astype(np.int64).T
        return np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)


def check_truth(layer: Layer, labels: Blob, samples: int) -> None:
    """Refuse true boxes of any other form than ``read_truth`` reads."""
    shape = labels.shape
    if is_rows(shape) or (len(shape) >= 2 and shape[0] == samples and prod(shape[1:]) % 5 == 0 and shape[-1] % 5 == 0):
        return
    layer.error(
        f"the true boxes have the shape {shape}",
        f"give ({samples}, 1, M, 5), with rows of class, x, y, width, height, "
        "or (1, 1, M, 8), as AnnotatedData delivers them",
    )


def is_rows(shape: Sequence[int]) -> bool:
    """Return whether true boxes of this shape are rows as AnnotatedData delivers them without yolo_data_type."""
    return len(shape) == 4 and shape[-1] == 8 and prod(shape[:2]) == 1


def read_truth(layer: Layer, shape: Sequence[int], values: np.ndarray, samples: int, classes: float) -> Truth:
    """Return true boxes, checked.

    They are (N, ..., 5): for each image rows of class, x, y, width, height, up to one whose width is 0. Or they are
    (1, 1, M, 8): rows of image, class + 1, instance, x1, y1, x2, y2, difficult; a row of image -1 does not count.
    ``classes`` may be infinite.
    """
    if is_rows(shape):
        rows = values.reshape(-1, 8)
        rows = rows[np.trunc(rows[:, 0]) != -1]
        image, label, box = rows[:, 0], rows[:, 1] - 1, centred(rows[:, 3:7])
    else:
        lists = values.reshape(samples, prod(shape[1:]) // 5, 5)
        image, place = np.nonzero(np.logical_and.accumulate(lists[:, :, 3] != 0, 1))
        rows = lists[image, place]
        label, box = rows[:, 0], rows[:, 1:]
    good = (
        np.isfinite(box).all(1)
        & (box[:, 2:] > 0).all(1)
        & (image > -1)
        & (image < samples)
        & (label > -1)
        & (label < classes)
    )
    if not good.all():
        first = int(good.argmin())
        label_hint = f"one of {classes} classes" if np.isfinite(classes) else "a class"
        layer.error(
            f"a true box is {rows[first].tolist()}",
            f"give it {label_hint}, one of {samples} images, and a width and a height above 0",
        )
    return Truth(image.astype(np.int64), np.trunc(label).astype(np.int64), box)
