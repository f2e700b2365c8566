"""Batches of whole images with the objects in them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

from ...errors import DataError, LayerError, Where
from ...proto import caffe_pb2
from ..batches import Batch, Batches
from ..images.image import decode_image, read_image_file, resize_image
from ..order import Order, Place
from ..transform import Shape, lay_out
from .object_file import CORNERS, DIFFICULT, IGNORE, LABEL, ObjectFile

CHANNELS = 3
COLUMNS = 8  # of a row of a top of objects
_GRID = 32


def whole(x: float) -> Any:
    """Round halves up, as C does for positive numbers."""
    return floor(x + 0.5)


def on_grid(x: float) -> Any:
    """Return the multiple of 32 that is nearest to a size, as networks of five levels need it."""
    return whole(x / _GRID) * _GRID


def check_objects_transform(param: caffe_pb2.TransformationParameter) -> None:
    """Refuse what only other layers read from transform_param."""
    for field in ("mean_file", "crop_size"):
        if getattr(param, field):
            raise LayerError(f"transform_param holds {field}, which this layer does not read", hint="Leave it out")
    if len(param.mean_value) not in (0, 1, CHANNELS):
        raise LayerError(f"mean_value is given {len(param.mean_value)} times", hint=f"Give it once or {CHANNELS} times")


def check_pairs(param: Any, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse pairs of fields of which one is missing, or is not above 0, or ends below its start."""
    for pair in pairs:
        given = [field for field in pair if param.HasField(field)]
        if len(given) == 1:
            raise LayerError(f"{given[0]} is given alone", hint=f"Give {pair[0]} and {pair[1]}, or none of them")
        first, second = (getattr(param, field) for field in pair)
        if given and min(first, second) <= 0:
            raise LayerError(f"{pair[0]} or {pair[1]} is 0 or less", hint="Give numbers above 0")
        if given and pair[0].partition("_")[0] in ("short", "min", "low") and first > second:
            raise LayerError(
                f"{pair[0]} is {first:g}, {pair[1]} {second:g}", hint="Give the larger one as the second of them"
            )


class ObjectBatches(Batches):
    """Images, in the order that ``order`` says, and rows for the objects in them."""

    def __init__(
        self,
        images: ObjectFile,
        root_folder: str,
        transform: caffe_pb2.TransformationParameter,
        image_order: Sequence[int],
        order: Order,
        rng: np.random.Generator,
        where: Where | None,
    ) -> None:
        self.images, self.root_folder, self.image_order = images, root_folder, image_order
        self.order, self.rng, self.where = order, rng, where
        self._mean = np.array(transform.mean_value or [0], np.float32)[:, None, None]
        self._scale = np.float32(transform.scale)
        self.mirror = transform.mirror

    @abc.abstractmethod
    def load(self) -> Batch: ...

    @abc.abstractmethod
    def shapes(self) -> list[Shape]: ...

    def place(self) -> Place:
        return {"order": self.order.place()}

    def seek(self, place: Place) -> None:
        self.order.seek(place["order"])

    def image(self, index: int) -> np.ndarray:
        """Return an image as OpenCV has it, (H, W, 3)."""
        try:
            return decode_image(self._file(index), color=True)
        except DataError as error:
            raise self._unusable(index, error) from error.__cause__

    def resized(self, index: int, image: np.ndarray, height: int, width: int) -> np.ndarray:
        try:
            return resize_image(image, height, width)
        except DataError as error:
            raise self._unusable(index, error) from error.__cause__

    def transformed(self, image: np.ndarray) -> np.ndarray:
        """Return (pixels - mean) * scale of an image (H, W, 3), as (3, H, W)."""
        return (image.transpose(2, 0, 1).astype(np.float32) - self._mean) * self._scale

    def laid_out(self, images: np.ndarray) -> np.ndarray:
        return lay_out(images, self.image_order)

    def _file(self, index: int) -> bytes:
        return read_image_file(self.root_folder + self.images.paths[index], self.where)

    def _unusable(self, index: int, error: DataError) -> DataError:
        what = f"the image {self.root_folder + self.images.paths[index]!r} cannot be used: {error.what}"
        return DataError(what, where=self.images.where_image(index), hint=error.hint)


def object_rows(objects: Sequence[np.ndarray]) -> np.ndarray:
    """Return a row (n, 8, 1, 1) for each object of a batch; one of -1s if there is none.

    It holds the number of the image, x1, y1, x2, y2, class, ignore, difficult.
    """
    rows = np.concatenate(
        [
            np.column_stack([np.full(len(o), i), o[:, CORNERS], o[:, LABEL], o[:, IGNORE], o[:, DIFFICULT]])
            for i, o in enumerate(objects)
        ]
    )
    rows = rows if len(rows) else np.full((1, COLUMNS), -1.0)
    return rows.astype(np.float32).reshape(-1, COLUMNS, 1, 1)


class EvalBatches(ObjectBatches):
    """Images resized to sides that are multiples of 32; each batch has its objects and its images' sizes."""

    def __init__(self, param: caffe_pb2.EvalDataParameter, *common: Any) -> None:
        super().__init__(*common)
        self.param = param

    def shapes(self) -> list[Shape]:
        size = eval_size(self.param, *self.images.sizes[self.order.peek()])
        return [(self.param.batch_size, CHANNELS, *size), (1, COLUMNS, 1, 1), (self.param.batch_size, 2, 1, 1)]

    def load(self) -> Batch:
        chosen = self.order.take(self.param.batch_size, self.share)
        images, objects = zip(*map(self._resized, chosen), strict=True)
        sizes = np.array([image.shape[1:] for image in images], np.float32).reshape(-1, 2, 1, 1)
        return Batch((self.laid_out(np.stack(images)), object_rows(objects), sizes), self.state())

    def _resized(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, objects = self.image(index), self.images.objects[index]
        size = eval_size(self.param, *image.shape[:2])
        if size != image.shape[:2]:
            objects = scaled(objects, size[1] / image.shape[1], size[0] / image.shape[0])
            image = self.resized(index, image, *size)
        return self.transformed(image), objects


def scaled(objects: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return objects, or regions (n, 4), whose corners are multiplied."""
    return objects * np.array([1] * (objects.shape[1] - 4) + [x, y, x, y], np.float32)


def eval_size(param: caffe_pb2.EvalDataParameter, height: Any, width: Any) -> tuple[Any, Any]:
    """Return the height and width that an image of a height and width gets."""
    if param.HasField("resize_width"):
        height, width = param.resize_height, param.resize_width
    elif param.HasField("short_size"):
        scale = param.short_size / min(height, width)
        height, width = (min(whole(side * scale), param.long_size) for side in (height, width))
    return max(_GRID, on_grid(height)), max(_GRID, on_grid(width))
