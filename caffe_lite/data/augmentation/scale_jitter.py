"""The crops of temporal segment networks: of several sizes and shapes, at the corners and the centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError, LayerError
from ...proto.caffe_pb2 import TransformationParameter
from ..images.image import import_cv2
from .pixels import through_cv2
from .sizing import Size, cut_out

_RATIOS = (1, 0.875, 0.75, 0.66)
_NEAR = 3  # pixels: a side that is closer to crop_size takes its length
# In quarters of the room around a crop: corners and centre; then the middle of each side, and of each quarter.
_PLACES = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
_MORE_PLACES = ((0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3))


def check_scale_jitter(param: TransformationParameter) -> None:
    """Refuse settings from which no crop can be drawn."""
    if (param.multi_scale or param.fix_crop) and not param.crop_size:
        raise LayerError("multi_scale and fix_crop need a crop_size", hint="Set crop_size in transform_param")
    wrong = [ratio for ratio in param.scale_ratios if not 0 < ratio <= 1]
    if param.multi_scale and wrong:
        raise LayerError(f"{wrong[0]:g} is one of scale_ratios", hint="Give numbers of more than 0, and at most 1")
    if param.multi_scale and param.max_distort < 0:
        raise LayerError(f"max_distort is {param.max_distort}", hint="It must be at least 0")


def fixed_places(param: TransformationParameter, room: Sequence[int]) -> np.ndarray:
    """Return the rows and columns (n, 2) at which fix_crop places a crop, given how much higher and wider an image is.

    There are 5 of them, or 13 with more_fix_crop.
    """
    places = _PLACES + _MORE_PLACES if param.more_fix_crop else _PLACES
    return np.array(places) * (np.array(room) // 4)


class ScaleJitter:
    """Draw a crop whose sides are shares of the image's shorter side, and resize it to crop_size.

    Reads ``transform_param``: crop_size; scale_ratios (1, 0.875, 0.75, 0.66), the shares; max_distort (1), by how many
    places in their list the shares of the two sides may differ; fix_crop (false), to take the crop from one of the
    corners or the centre; more_fix_crop (false), or from one of eight places between them.
    Source: Wang et al., Temporal Segment Networks, ECCV 2016; yjxiong's data_transformer.cpp.
    """

    def __init__(self, param: TransformationParameter) -> None:
        check_scale_jitter(param)
        self.param = param

    def least(self, height: int, width: int) -> Size:
        return self.param.crop_size, self.param.crop_size

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size, old = self.param.crop_size, image.shape[1:]
        if min(old) < size:
            raise DataError(
                f"crop_size {size} is larger than the image: {old[0]} x {old[1]}",
                hint="Make crop_size smaller, or the images larger",
            )
        sizes = self._sizes(min(old))
        height, width = sizes[rng.integers(len(sizes))]
        room = old[0] - height, old[1] - width
        if self.param.fix_crop:
            places = fixed_places(self.param, room)
            top, left = places[rng.integers(len(places))]
        else:
            top, left = rng.integers(room[0] + 1), rng.integers(room[1] + 1)
        crop = cut_out(image, top, left, height, width)
        if (height, width) == (size, size):
            return crop
        cv2 = import_cv2()
        return through_cv2(crop, lambda x: cv2.resize(x, (size, size), interpolation=cv2.INTER_LINEAR))

    def _sizes(self, shorter: int) -> list[Size]:
        """Return the sizes of crops of an image with this shorter side."""
        p = self.param
        sides = [max(1, int(np.float32(shorter) * np.float32(ratio))) for ratio in p.scale_ratios or _RATIOS]
        sides = [p.crop_size if abs(side - p.crop_size) < _NEAR else side for side in sides]
        return [
            (high, wide) for i, high in enumerate(sides) for j, wide in enumerate(sides) if abs(i - j) <= p.max_distort
        ]
