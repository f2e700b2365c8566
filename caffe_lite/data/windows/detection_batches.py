"""Batches of images for training a detector: at random sizes and places, with what its anchors should say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, sqrt
from typing import Any

import numpy as np

from ...proto.caffe_pb2 import DetectionDataParameter
from ..augmentation.distortion import distort
from ..batches import Batch
from ..order import Order
from ..transform import Shape
from .object_batches import CHANNELS, COLUMNS, ObjectBatches, object_rows, on_grid, scaled, whole
from .object_file import CORNERS, IGNORE, ObjectFile

_NOISE = 10  # pixels by which an image may be off its place
_LARGE = 1.5  # an image that grows by more is cut first, with a border of a fifth
_BORDER = 1.2


@dataclass(frozen=True)
class Area:
    """The part of a batch's image that shows an image; the rest is empty."""

    left: int
    top: int
    width: int
    height: int


# From the size of a batch's images, the part that shows one, objects (n, 7) and regions of no interest (m, 4).
MakeTruth = Callable[[Shape, Area, np.ndarray, np.ndarray], list[np.ndarray]]


class DetectionBatches(ObjectBatches):
    """Images, for each kind of anchor what it should say, and with output_gt_boxes the objects."""

    def __init__(self, param: DetectionDataParameter, truth: MakeTruth, *common: Any) -> None:
        super().__init__(*common)
        self.param, self.truth = param, truth
        self._files: dict[int, bytes] = {}

    def shapes(self) -> list[Shape]:
        p = self.param
        height, width = size_of_batch(p, first_resized(p, self.images.sizes[self.order.peek()]))
        empty = self.truth((height, width), Area(0, 0, width, height), np.zeros((0, 7)), np.zeros((0, 4)))
        shapes: list[Shape] = [(p.batch_size, CHANNELS, height, width)]
        shapes += [(p.batch_size, *values.shape) for values in empty]
        return [*shapes, (1, COLUMNS, 1, 1)] if p.output_gt_boxes else shapes

    def load(self) -> Batch:
        p = self.param
        ratio = p.template_ratio[self.rng.integers(len(p.template_ratio))] if p.template_ratio else 1.0
        images: np.ndarray | None = None
        truth, objects = [], []
        for i, index in enumerate(self.order.take(p.batch_size, self.share)):
            scene = self._resized(index, ratio)
            if images is None:
                size = size_of_batch(p, scene.image.shape[:2], ratio)
                images = np.zeros((p.batch_size, CHANNELS, *size), np.float32)
            area = self._place(index, scene, images[i])
            self._ignore_small_and_far(scene.objects, *size)
            truth.append(self.truth(size, area, scene.objects, scene.regions))
            objects.append(scene.objects)
        assert images is not None
        arrays = [self.laid_out(images), *(np.stack(values) for values in zip(*truth, strict=True))]
        if p.output_gt_boxes:
            arrays.append(object_rows(objects))
        return Batch(tuple(arrays), self.state())

    def _file(self, index: int) -> bytes:
        data = self._files.get(index) or super()._file(index)
        if self.param.cache_images:
            self._files[index] = data
        return data

    def _resized(self, index: int, ratio: float) -> _Scene:
        """Return an image and its objects, distorted, mirrored or not, and resized."""
        image = self.image(index)
        scene = _Scene(image, self.images.objects[index].copy(), self.images.ignored[index].copy())
        if self.param.HasField("distort_param"):
            distorted = distort(self.param.distort_param, image.transpose(2, 0, 1), self.rng)
            scene.image = distorted.transpose(1, 2, 0)
        if self.mirror and self.rng.integers(2):
            scene.mirror()
        height, width = first_resized(self.param, image.shape[:2], ratio)
        self._resize(index, scene, height, width)
        scene.scale(width / image.shape[1], height / image.shape[0])
        return scene

    def _resize(self, index: int, scene: _Scene, height: int, width: int) -> None:
        if scene.image.shape[:2] != (height, width):
            scene.image = self.resized(index, np.ascontiguousarray(scene.image), height, width)

    def _place(self, index: int, scene: _Scene, canvas: np.ndarray) -> Area:
        """Put an image into the canvas (C, H, W), at a random scale around an object, and move its objects there."""
        size = np.array(canvas.shape[:0:-1])  # x before y
        seen = np.array(scene.image.shape[1::-1])
        chosen = int(self.rng.integers(len(scene.objects))) if len(scene.objects) else None
        if chosen is not None:
            centre = scene.objects[chosen, CORNERS].reshape(2, 2).mean(0).astype(float)
        else:
            free = np.maximum(seen - size, 0)
            centre = np.where(size > seen, seen / 2, self.rng.integers(free + 1) + size / 2)
        factors = self._factors(scene, chosen)
        if (factors != 1).any():
            if (factors > _LARGE).any():
                centre -= self._cut(scene, centre, factors)
            width, height = (whole(n * f) for n, f in zip(scene.image.shape[1::-1], factors, strict=True))
            self._resize(index, scene, max(1, height), max(1, width))
            scene.scale(*factors)
        noise = self.rng.integers(-_NOISE, _NOISE, size=2)
        seen = np.array(scene.image.shape[1::-1])
        room = size - seen
        target = np.clip(np.floor(room / 2 + 0.5).astype(int) + noise, 0, np.maximum(room, 0))
        middle = np.floor(centre * factors + 0.5).astype(int) + noise
        start = np.clip(middle - np.floor(size / 2 + 0.5).astype(int), 0, np.maximum(-room, 0))
        (width, height), (left, top), (x, y) = np.minimum(size, seen).tolist(), target.tolist(), start.tolist()
        part = self.transformed(scene.image[y : y + height, x : x + width])
        canvas[:, top : top + height, left : left + width] = part
        scene.shift(left - x, top - y)
        return Area(left, top, width, height)

    def _factors(self, scene: _Scene, chosen: int | None) -> np.ndarray:
        """Return the factors, for x and y, by which an image grows."""
        p = self.param
        draws = self.rng.random() < p.multiscale_prob
        if p.HasField("low_scale_ratio"):
            low, high = p.low_scale_ratio, p.high_scale_ratio
        elif p.HasField("min_scale"):
            low = high = 2.0
            if chosen is not None:
                x1, y1, x2, y2 = scene.objects[chosen, CORNERS].tolist()
                scale = sqrt(max(1.0, x2 - x1 + 1) * max(1.0, y2 - y1 + 1))
                low, high = p.min_scale / scale, p.max_scale / scale
        else:
            return np.ones(2)
        if not draws:
            return np.ones(2)
        factor = 2 ** self.rng.uniform(log2(low), log2(high))
        aspect = 1.0
        if p.HasField("min_whaspect"):
            aspect = 2 ** self.rng.uniform(log2(p.min_whaspect), log2(p.max_whaspect))
        return np.array([factor * sqrt(aspect), factor / sqrt(aspect)])

    def _cut(self, scene: _Scene, centre: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Cut out the part of an image around a centre that will be seen; return its first column and row."""
        seen = np.array(scene.image.shape[1::-1])
        size = np.clip(np.floor(_BORDER * seen / factors + 0.5).astype(int), 1, seen)
        start = np.clip(np.floor(centre - size / 2 + 0.5).astype(int), 0, seen - size)
        (x, y), (width, height) = start.tolist(), size.tolist()
        scene.image = scene.image[y : y + height, x : x + width]
        scene.shift(-x, -y)
        return start

    def _ignore_small_and_far(self, objects: np.ndarray, height: int, width: int) -> None:
        """Let objects that are too small, or whose centre is not in the image, be ignored."""
        start, end = objects[:, CORNERS][:, :2], objects[:, CORNERS][:, 2:]
        centre, size = (start + end) / 2, end - start + 1
        far = (centre < 0) | (centre >= (width, height))
        small = size < np.array([self.param.min_gt_width, self.param.min_gt_height], np.float32)
        objects[(far | small).any(1), IGNORE] = 1


@dataclass
class _Scene:
    """An image (H, W, C), objects (n, 7) and regions of no interest (m, 4)."""

    image: np.ndarray
    objects: np.ndarray
    regions: np.ndarray

    def mirror(self) -> None:
        width = self.image.shape[1]
        self.image = self.image[:, ::-1]
        for boxes in (self.objects[:, CORNERS], self.regions):
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]

    def scale(self, x: float, y: float) -> None:
        self.objects, self.regions = (scaled(boxes, x, y) for boxes in (self.objects, self.regions))

    def shift(self, x: int, y: int) -> None:
        for boxes in (self.objects[:, CORNERS], self.regions):
            boxes += np.array([x, y, x, y], np.float32)


def first_resized(param: DetectionDataParameter, size: Shape, ratio: float = 1.0) -> Shape:
    """Return the height and width that an image gets before it is put into a batch."""
    height, width = size
    if param.HasField("resize_width"):
        return param.resize_height, param.resize_width
    if param.HasField("resize_ratio"):
        return whole(height * param.resize_ratio), whole(width * param.resize_ratio)
    if param.HasField("short_size"):
        scale = on_grid(param.short_size * ratio) / min(height, width)
        return whole(height * scale), whole(width * scale)
    return height, width


def size_of_batch(param: DetectionDataParameter, size: Shape, ratio: float = 1.0) -> Shape:
    """Return the height and width of a batch's images, given those of the first one."""
    height, width = size
    if param.HasField("crop_width"):
        return param.crop_height, param.crop_width
    if param.HasField("resize_width"):
        return param.resize_height, param.resize_width
    if param.HasField("crop_short_size"):
        short, long = param.crop_short_size, param.crop_long_size
    elif param.HasField("short_size"):
        short, long = on_grid(param.short_size * ratio), on_grid(param.long_size * ratio)
    else:
        return height, width
    return (long, short) if height >= width else (short, long)


class AspectOrder(Order):
    """Tall images (at least as high as wide) and wide ones, each kind shuffled, in groups of ``group``; None: all."""

    def __init__(self, images: ObjectFile, rng: np.random.Generator, group: int | None) -> None:
        self.tall = np.array([height >= width for height, width in images.sizes])
        self.group = group
        super().__init__(f"images in {images.file!r}", len(images.paths), rng)

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        kinds = [rng.permutation(np.flatnonzero(kind)) for kind in (self.tall, ~self.tall)]
        if rng.integers(2):
            kinds.reverse()
        if self.group is None:
            return np.concatenate(kinds)
        # Groups alternate as long as there are images of both kinds; what is then left follows.
        first, second = (np.arange(len(kind)) // self.group for kind in kinds)
        turns = np.concatenate([2 * first, 2 * second + 1])
        return np.concatenate(kinds)[np.argsort(turns, kind="stable")]
