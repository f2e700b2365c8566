"""What DetectNet learns of an image: the boxes of objects as coverage of the cells of a grid, and random views."""

from __future__ import annotations

from math import ceil, cos, floor, radians, sin
from typing import Any, NamedTuple

import numpy as np

from ...data.images.image import import_cv2
from ...proto.caffe_pb2 import DetectNetAugmentationParameter, DetectNetGroundTruthParameter

RECORD = 16  # values of an object's label: x, y, width, height, an angle, the class, and others that are not read
_CLASS = 5
_ALWAYS = 8  # channels before those of the classes
_LEAST = 1.1920929e-07  # a smaller part of a cell is none


class Grid:
    """The cells of an image, and what each should say: (8 + classes, H, W).

    The channels are: 1 for an object; the corners x1, y1, x2, y2 of its box, seen from the cell's corner; 1 / width and
    1 / height of the box; the size of a cell over that of the covered region; and for each class 1 where it is.
    """

    def __init__(self, param: DetectNetGroundTruthParameter) -> None:
        self.param = param
        self.classes = {mapping.src: mapping.dst for mapping in param.object_class} or {1: 0}
        self.shape = (
            _ALWAYS + max(self.classes.values()) + 1,
            round(param.image_size_y / param.stride),
            round(param.image_size_x / param.stride),
        )

    def coverage(self, boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return what the cells should say of boxes (x, y, width, height); a later one lies above an earlier one."""
        p, (_, rows, columns) = self.param, self.shape
        grid = np.zeros(self.shape)
        edges_x, edges_y = p.stride * np.arange(columns), p.stride * np.arange(rows)
        for (x, y, width, height), number in zip(boxes, classes, strict=True):
            low, high = np.array([x, y]), np.array([x + width, y + height])
            if p.crop_bboxes:
                low, high = np.maximum(low, 0), np.minimum(high, [p.image_size_x, p.image_size_y])
            size = np.maximum(high - low, 0)
            if number not in self.classes or size.prod() < _LEAST:
                continue
            half = self._covered(size) / 2
            region_low, region_high = (low + high) / 2 - half, (low + high) / 2 + half
            across = np.minimum(edges_x + p.stride, region_high[0]) - np.maximum(edges_x, region_low[0])
            down = np.minimum(edges_y + p.stride, region_high[1]) - np.maximum(edges_y, region_low[1])
            share = np.maximum(down, 0)[:, None] * np.maximum(across, 0) / p.stride**2
            row, column = np.nonzero(share > _LEAST)
            corner = np.stack([edges_x[column], edges_y[row]])
            norm = p.stride**2 / max(4 * half.prod(), 1e-37)
            cells = np.zeros((len(grid), len(row)))
            cells[0] = 1
            cells[1:3] = low[:, None] - corner
            cells[3:5] = high[:, None] - corner
            cells[5:7] = 1 / size[:, None]
            cells[7] = max(norm, 0.0 if p.obj_norm else 1.0)
            cells[_ALWAYS + self.classes[number]] = 1
            grid[:, row, column] = cells
        return grid

    def _covered(self, size: np.ndarray) -> np.ndarray:
        """Return the size of the region that counts as covered, in the middle of a box of this size."""
        p = self.param
        covered = size * p.scale_cvg
        if p.gridbox_type == DetectNetGroundTruthParameter.GRIDBOX_MIN:
            return np.minimum(size, np.maximum(p.min_cvg_len, covered))
        return np.minimum(p.max_cvg_len, covered)


class View(NamedTuple):
    """How an image is seen: other colours, mirrored, scaled to a size (width, height), turned, cut out."""

    hue: float
    saturation: float
    mirrored: bool
    size: tuple[int, int]
    angle: float
    offset: tuple[int, int]

    @classmethod
    def plain(cls, size: tuple[int, int]) -> View:
        return cls(0, 1, False, size, 0, (0, 0))

    @classmethod
    def drawn(
        cls,
        p: DetectNetAugmentationParameter,
        size: tuple[int, int],
        wanted: tuple[int, int],
        rng: np.random.Generator,
    ) -> View:
        """Draw a view of an image, for a cutting of the size ``wanted``."""
        hue, saturation = 0.0, 1.0
        if rng.random() <= p.hue_rotation_prob:
            hue = max(min((rng.random() - 0.5) * 2 * p.hue_rotation, 180), -180)
        if rng.random() <= p.desaturation_prob:
            saturation = 1 - rng.random() * p.desaturation_max
        mirrored = bool(rng.random() <= p.flip_prob)
        if rng.random() <= p.scale_prob:
            scale = p.scale_min + (p.scale_max - p.scale_min) * rng.random()
            size = (_round(size[0] * scale), _round(size[1] * scale))
        angle = (rng.random() - 0.5) * 2 * p.max_rotate_degree if rng.random() <= p.rotation_prob else 0.0
        turned = _turned_size(size, angle) if abs(angle) > _LEAST else size
        at_random = rng.random() <= p.crop_prob
        places = rng.random(2) if at_random else (0.5, 0.5)
        shifts = (p.shift_x, p.shift_y) if at_random else (0, 0)
        offset = [
            _round(place * (have - want + shift) - shift // 2)
            for place, have, want, shift in zip(places, turned, wanted, shifts, strict=True)
        ]
        return cls(hue, saturation, mirrored, size, angle, (offset[0], offset[1]))

    def image(self, image: np.ndarray, mean: np.ndarray | None, wanted: tuple[int, int]) -> np.ndarray:
        """Return this view of an image (H, W, 3) of 0 to 255, less a mean: (wanted height, wanted width, 3)."""
        cv2 = import_cv2()
        x = image.astype(np.float32) / 255
        if abs(self.hue) > _LEAST or self.saturation < 1 - 1 / 255:
            hsv = cv2.cvtColor(x, cv2.COLOR_BGR2HSV)
            hsv[..., 0] += np.float32(self.hue)
            hsv[..., 1] *= np.float32(self.saturation)
            x = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if mean is not None:
            x = x - mean / np.float32(255)
        if self.mirrored:
            x = np.ascontiguousarray(x[:, ::-1])
        if self.size != (x.shape[1], x.shape[0]):
            x = cv2.resize(x, self.size, interpolation=cv2.INTER_CUBIC)
        if abs(self.angle) > _LEAST:
            size = _turned_size(self.size, self.angle)
            onto = np.zeros((size[1], size[0], 3), np.float32)
            x = cv2.warpAffine(
                x, self._turning(), size, onto, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
            )
        return _cut(x, self.offset, wanted) * np.float32(255)

    def boxes(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return boxes (x, y, width, height) of an image of this size (width, height) as the view has them."""
        boxes = boxes.astype(np.float64)
        if self.mirrored:
            boxes[:, 0] = size[0] - boxes[:, 0] - boxes[:, 2] - 1
        boxes *= np.tile(np.array(self.size) / size, 2)
        if abs(self.angle) > _LEAST:
            matrix, half = self._turning(), boxes[:, 2:] / 2
            boxes[:, :2] = (boxes[:, :2] + half) @ matrix[:, :2].T + matrix[:, 2] - half
        boxes[:, :2] -= self.offset
        return boxes

    def _turning(self) -> np.ndarray:
        """Return the affine map (2, 3) that turns the image and moves it to where it has no negative coordinates."""
        middle = np.array(self.size) / 2
        turn = _rotation(self.angle)
        corner = np.floor((_corners(self.size) @ turn.T + middle).min(0))
        return np.column_stack([turn, middle - corner - turn @ middle])


def _rotation(angle: float) -> np.ndarray:
    s, c = sin(radians(angle)), cos(radians(angle))
    return np.array([[c, -s], [s, c]])


def _corners(size: tuple[int, int]) -> np.ndarray:
    """Return the corners of a rectangle around the origin."""
    return np.array([[-1, 1], [-1, -1], [1, -1], [1, 1]]) * np.array(size) / 2


def _turned_size(size: tuple[int, int], angle: float) -> tuple[int, int]:
    """Return the size of the upright rectangle of whole pixels around a turned one."""
    points = _corners(size) @ _rotation(angle).T + np.array([size[0] // 2, size[1] // 2])
    low, high = points.min(0), points.max(0)
    return tuple(ceil(b) - floor(a) + 1 for a, b in zip(low, high, strict=True))


def _cut(x: np.ndarray, offset: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """Return the part of an image that begins at an offset; 0 outside the image."""
    y: Any = np.zeros((wanted[1], wanted[0], x.shape[2]), x.dtype)
    first = [max(0, at) for at in offset]
    last = [min(have, at + want) for have, at, want in zip(x.shape[1::-1], offset, wanted, strict=True)]
    if last[0] > first[0] and last[1] > first[1]:
        columns, rows = (slice(a - at, b - at) for a, b, at in zip(first, last, offset, strict=True))
        y[rows, columns] = x[first[1] : last[1], first[0] : last[0]]
    return y


def _round(x: float) -> int:
    """Round halves away from 0, as C does."""
    return floor(x + 0.5) if x >= 0 else ceil(x - 0.5)
