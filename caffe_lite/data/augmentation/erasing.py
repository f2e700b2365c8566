"""erase_ratio: rectangles of noise in some of the crops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...errors import DataError, LayerError
from ...proto.caffe_pb2 import TransformationParameter

_VALUES = 255  # the noise is less


class Erasure(NamedTuple):
    """The first row and column of a rectangle in a crop, and its values (C, height, width)."""

    top: int
    left: int
    noise: np.ndarray

    def erase(self, crop: np.ndarray) -> np.ndarray:
        """Return a crop (C, H, W) with this rectangle in it."""
        height, width = self.noise.shape[1:]
        erased = crop.copy()
        erased[:, self.top : self.top + height, self.left : self.left + width] = self.noise
        return erased


def check_erasing(param: TransformationParameter) -> None:
    """Refuse bounds from which no rectangle can be drawn that fits."""
    for name in ("scale", "aspect"):
        lower, upper = getattr(param, f"{name}_min"), getattr(param, f"{name}_max")
        if not 0 < lower <= upper < np.inf:
            raise LayerError(
                f"{name}_min in transform_param is {lower:g}, {name}_max {upper:g}",
                hint=f"Set 0 < {name}_min <= {name}_max",
            )
    if param.erase_ratio > 0 and (param.scale_min >= 1 or param.scale_min * param.aspect_min >= 1):
        raise LayerError(
            "the smallest rectangle to erase is as large as the crop", hint="Make scale_min or aspect_min smaller"
        )


def draw_erasure(param: TransformationParameter, crop: tuple[int, ...], rng: np.random.Generator) -> Erasure | None:
    """Return what is erased of a crop (C, H, W), or None if it stays as it is.

    Reads ``transform_param``: erase_ratio (0), the share of the crops in which a rectangle is erased; scale_min (0.02)
    and scale_max (0.4), between which the share of the crop's width is drawn that it takes; aspect_min (0.33) and
    aspect_max (3), between which the ratio of its height to its width is drawn. Rectangles that do not fit are drawn
    again. In the TEST phase, too, as in the fork.
    Source: Zhong et al., Random Erasing Data Augmentation, AAAI 2020; happynear's data_transformer.cpp.
    """
    if rng.random() >= param.erase_ratio:
        return None
    channels, height, width = crop
    if int(int(width * param.scale_min) * param.aspect_min) > height:
        raise DataError(
            f"the smallest rectangle to erase is higher than the crop, {height} x {width}",
            hint="Make scale_min or aspect_min smaller",
        )
    while True:
        wide = int(width * rng.uniform(param.scale_min, param.scale_max))
        high = int(wide * rng.uniform(param.aspect_min, param.aspect_max))
        left, top = rng.integers(width, endpoint=True), rng.integers(height, endpoint=True)
        if left + wide <= width and top + high <= height:
            return Erasure(int(top), int(left), rng.integers(_VALUES, size=(channels, high, wide)))
