"""What DenseImageData does with pairs of images and labels."""

from __future__ import annotations

import numpy as np

from ...errors import DataError
from ..transform import Shape, by
from .pairs import LabelMap, PairBatches, crop_pair


class DensePairBatches(PairBatches):
    """Pairs that are mirrored at random and cropped at a random place, in every phase, and then transformed."""

    mirror = False
    crop = (0, 0)  # height, width

    @property
    def augments(self) -> bool:
        return self.mirror or any(self.crop) or super().augments

    def augment(self, image: np.ndarray, label: LabelMap, rng: np.random.Generator) -> tuple[np.ndarray, LabelMap]:
        image, _ = super().augment(image, label, rng)
        labels = label.values
        if self.mirror and rng.integers(2):
            image, labels = image[:, :, ::-1], labels[:, ::-1]
        if any(self.crop):
            self.augmented(image.shape)
            image, labels = crop_pair(image, labels, *self.crop, rng)
        return image, label.of(labels)

    def augmented(self, shape: Shape) -> Shape:
        if not any(self.crop):
            return shape
        if self.crop[0] > shape[1] or self.crop[1] > shape[2]:
            raise DataError(
                f"crop_height x crop_width {by(self.crop)} is larger than the image: {by(shape[1:])}",
                hint="Make them smaller, or the images larger",
            )
        return (shape[0], *self.crop)
