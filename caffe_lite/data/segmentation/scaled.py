"""What ImageSegData does with images and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError
from ..image_list import FileList, ImageList
from ..images.image import BYTE
from ..transform import Shape
from .pairs import LabelMap, MapBatches, PairBatches, resize_pair


class PathList(FileList):
    """Lines whose first word is the path of an image."""

    example = "cat.jpg"

    def take(self, line: str, number: int) -> str:
        return line.split()[0]


class ScaledBatches(MapBatches):
    """Images that are scaled by one of ``factors`` at random, padded to the size of the crop, and then transformed.

    The padding has the mean colour and ``ignore_label``. The third array of a batch (N, 1, 1, 2) has the height and
    width that each image had before it was scaled, but at most those of the batch.
    """

    factors: Sequence[float] = ()
    ignore_label = 255

    @property
    def augments(self) -> bool:
        return True

    def augment(self, image: np.ndarray, label: LabelMap, rng: np.random.Generator) -> tuple[np.ndarray, LabelMap]:
        image, _ = super().augment(image, label, rng)
        labels = label.values
        if self.factors:
            factor = np.float32(self.factors[int(rng.integers(len(self.factors)))])
            height, width = (int(np.float32(side) * factor) for side in labels.shape)
            if not (height and width):
                raise DataError(
                    f"the factor {factor:g} in scale_factors makes it {height} x {width}", hint="Use larger factors"
                )
            image, labels = resize_pair(image, labels, height, width)
        image, labels = self._padded(image, labels)
        return image, label.of(labels)

    def augmented(self, shape: Shape) -> Shape:
        height, width = self.transformer.crop
        return (shape[0], max(shape[1], height), max(shape[2], width))

    def _padded(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels, at least as large as the crop: what is added is below and on the right."""
        shape = self.augmented(image.shape)
        if shape == image.shape:
            return image, labels
        self.transformer.shape(shape)  # refuses a number of mean_values that does not fit
        height, width = labels.shape
        mean = self.transformer.mean_values
        color = np.resize(mean, shape[0]) if mean.size else np.zeros(1, image.dtype)
        padded = np.array(np.broadcast_to(color[:, None, None], shape))
        padded[:, :height, :width] = image
        padded_labels = np.full(shape[1:], self.ignore_label)
        padded_labels[:height, :width] = labels
        return padded, padded_labels

    def transform(self, images: Sequence[np.ndarray], labels: Sequence[LabelMap]) -> tuple[np.ndarray, ...]:
        batch, maps = super().transform(images, labels)
        sizes = np.minimum([label.size for label in labels], batch.shape[2:])
        return batch, maps, sizes.reshape(-1, 1, 1, 2).astype(np.float32)

    def shapes(self) -> list[Shape]:
        return [*super().shapes(), (self.batch_size, 1, 1, 2)]


class ScaledPairBatches(ScaledBatches, PairBatches):
    """ScaledBatches whose labels are in images of their own."""


class LabelledScaledBatches(ScaledBatches):
    """ScaledBatches where all pixels of an image have its label in the list."""

    images: ImageList

    def labels(self, record: int, original: Shape, size: tuple[int, int]) -> np.ndarray:
        label = self.images.label(record)
        if not 0 <= label <= 255:
            raise DataError(f"its label is {label}", hint="Labels are 0 to 255 where label_type is IMAGE")
        return np.full(size, label, BYTE)


class UnlabelledScaledBatches(ScaledBatches):
    """ScaledBatches where all pixels have ``ignore_label``."""

    def labels(self, record: int, original: Shape, size: tuple[int, int]) -> np.ndarray:
        return np.full(size, self.ignore_label, np.int32)
