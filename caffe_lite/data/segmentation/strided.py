"""What SegData does with pairs of images and labels."""

from __future__ import annotations

import numpy as np

from ...errors import DataError
from ..transform import Shape, by
from .pairs import LabelMap, PairBatches, crop_pair, resize_pair

# A crop is drawn again, at most so often, while one label has more than this share of its pixels.
_DRAWS = 10
_MOST = 0.8


class StridedPairBatches(PairBatches):
    """Pairs that are scaled by a random factor and cropped at a random place to multiples of a stride, in every phase.

    ``upper`` are the largest height and width of a crop. With ``balance``, crops where one label has more than 80
    percent of the pixels are drawn again, up to ten times.
    """

    factors = (1.0, 1.0)  # the smallest, the largest
    stride = 1
    upper: tuple[int, int] | None = None
    balance = False

    @property
    def augments(self) -> bool:
        return True

    def augment(self, image: np.ndarray, label: LabelMap, rng: np.random.Generator) -> tuple[np.ndarray, LabelMap]:
        image, _ = super().augment(image, label, rng)
        drawn, labels = self._draw(image, label.values, rng)
        for _ in range(_DRAWS if self.balance else 0):
            if np.bincount(labels.ravel()).max() <= _MOST * labels.size:
                break
            drawn, labels = self._draw(image, label.values, rng)
        return drawn, label.of(labels)

    def _draw(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = map(np.float32, self.factors)
        factor = np.float32(float(lower) + rng.integers(int(float(upper - lower) * 1000) + 1) / 1000)
        height, width = (int(float(np.float32(side) * factor) + 0.5) for side in labels.shape)
        _, high, wide = self.augmented((len(image), height, width))
        return crop_pair(*resize_pair(image, labels, height, width), high, wide, rng)

    def augmented(self, shape: Shape) -> Shape:
        height, width = (side // self.stride * self.stride for side in shape[1:])
        if self.upper:
            height, width = min(height, self.upper[0]), min(width, self.upper[1])
        if not (height and width):
            raise DataError(
                f"the image is {by(shape[1:])}, and stride is {self.stride}",
                hint="Make stride in transform_param smaller, or the images or scale_ratios larger",
            )
        return (shape[0], height, width)
