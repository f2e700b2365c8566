"""Pairs of an image and the image of its labels, in the order of a text file that lists them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import DataError, Where
from ..augmentation.pixels import through_cv2
from ..image_list import FileList, ListBatches
from ..images.image import channels_first, import_cv2, read_image_file, resize_image
from ..images.label_image import decode_label_image
from ..transform import Shape, by


class PairList(FileList):
    """Lines with two paths: of an image, which may have spaces, and after the last space of the image of its labels."""

    example = "cat.jpg cat_labels.png"

    def __init__(self, source: str, where: Where | None, param: str = "image_data_param") -> None:
        self.labels: list[str] = []
        super().__init__(source, where, param)

    def take(self, line: str, number: int) -> str:
        path, *rest = line.rsplit(None, 1)
        if not rest:
            raise DataError(
                f"the line has one word, {path!r}",
                where=Where(self.file, number, 1),
                hint="A line is the path of an image, a space and the path of the image of its labels",
            )
        self.labels.append(rest[0])
        return path


class LabelMap(NamedTuple):
    """The labels (H, W) of an image's pixels, and the height and width that the image had after it was read."""

    values: np.ndarray
    size: tuple[int, int]

    def of(self, values: np.ndarray) -> LabelMap:
        """Return these labels for the same image, which has changed."""
        return LabelMap(values, self.size)


class MapBatches(ListBatches[LabelMap]):
    """Images (N, C, H, W) and the labels of their pixels (N, 1, H, W), cropped and mirrored alike.

    The labels have the size of the image divided by ``label_factor``.
    """

    label_factor = 1

    @abc.abstractmethod
    def labels(self, record: int, original: Shape, size: tuple[int, int]) -> np.ndarray:
        """Return the labels of an image, whose original size is given, for the size that it has now."""

    def weight(self, image: np.ndarray, label: LabelMap) -> int:
        return super().weight(image, label) + label.values.nbytes

    def decode(self, record: int) -> tuple[np.ndarray, LabelMap]:
        image = self.image(record)
        original = image.shape[:2]
        if self.reading.height:
            image = resize_image(image, self.reading.height, self.reading.width)
        height, width = image.shape[:2]
        labels = self.labels(record, original, (height, width))
        return channels_first(image), LabelMap(labels, (height, width))

    def shapes(self) -> list[Shape]:
        images, _ = super().shapes()
        return [images, (self.batch_size, 1, *self._label_size(images))]

    def _label_size(self, images: Shape) -> tuple[int, int]:
        return images[2] // self.label_factor, images[3] // self.label_factor

    def transform(self, images: Sequence[np.ndarray], labels: Sequence[LabelMap]) -> tuple[np.ndarray, ...]:
        crops = self.transformer.choose([image.shape for image in images], self.rng)
        batch = self.transformer.apply(images, crops)
        height, width = self._label_size(batch.shape)
        maps: np.ndarray = np.empty((len(labels), 1, height, width), np.float32)
        for (into,), label, row, column, step in zip(maps, labels, *crops, strict=True):
            into[:, ::step] = label.values[row : row + height, column : column + width]
        return batch, maps


class PairBatches(MapBatches):
    """MapBatches whose labels are in images of their own."""

    images: PairList

    def labels(self, record: int, original: Shape, size: tuple[int, int]) -> np.ndarray:
        labels = self.label_image(record, decode_label_image)
        if self.reading.height:
            return nearest(labels, size[0] // self.label_factor, size[1] // self.label_factor)
        self.check_size(record, labels, original)
        return labels

    def label_image(self, record: int, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
        path = self._label_path(record)
        try:
            return decode(read_image_file(path, self.where))
        except DataError as error:
            raise DataError(f"its labels {path!r}: {error.what}", hint=error.hint) from error.__cause__

    def check_size(self, record: int, labels: np.ndarray, size: Shape) -> None:
        """Refuse labels that are not as large as their image."""
        if labels.shape != size:
            raise DataError(
                f"it is {by(size)} (H x W), and its labels {self._label_path(record)!r} are {by(labels.shape)}",
                hint="Give each pixel one label",
            )

    def _label_path(self, record: int) -> str:
        return self.reading.root + self.images.labels[record]


def nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the labels of an image in another size: of each pixel, those of the nearest one."""
    cv2 = import_cv2()
    resized: np.ndarray = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return resized


def resize_pair(image: np.ndarray, labels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (C, H, W) and its labels (H, W) in another size; only the image is interpolated."""
    if labels.shape == (height, width):
        return image, labels
    return through_cv2(image, lambda x: resize_image(x, height, width)), nearest(labels, height, width)


def crop_pair(
    image: np.ndarray, labels: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of this size, at a random place, of an image (C, H, W) and its labels (H, W)."""
    row = int(rng.integers(labels.shape[0] - height + 1))
    column = int(rng.integers(labels.shape[1] - width + 1))
    window = (slice(row, row + height), slice(column, column + width))
    return image[:, window[0], window[1]], labels[window]
