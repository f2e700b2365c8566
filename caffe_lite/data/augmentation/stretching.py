"""NVIDIA's resizing at random: the shorter side, the ratio of the sides, and each side for itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import TransformationParameter
from ..images.image import import_cv2
from .pixels import through_cv2
from .sizing import Size

_FACTORS = ("rand_resize_ratio", "vertical_stretch", "horizontal_stretch")
_INTERPOLATIONS = {
    TransformationParameter.INTER_NEAREST: "INTER_NEAREST",
    TransformationParameter.INTER_LINEAR: "INTER_LINEAR",
    TransformationParameter.INTER_CUBIC: "INTER_CUBIC",
    TransformationParameter.INTER_AREA: "INTER_AREA",
}


def stretches(param: TransformationParameter) -> bool:
    """Return whether a transform_param asks for it."""
    if param.img_rand_resize_lower or param.img_rand_resize_upper:
        return True
    given = {descriptor.name for descriptor, _ in param.ListFields()}
    return any(f"{name}_{end}" in given for name in _FACTORS for end in ("lower", "upper"))


def check_stretching(param: TransformationParameter) -> None:
    """Refuse bounds in the wrong order."""
    for name in ("img_rand_resize", *_FACTORS):
        lower, upper = getattr(param, f"{name}_lower"), getattr(param, f"{name}_upper")
        if lower > 0 and upper > 0 and not lower <= upper < np.inf:
            raise LayerError(f"{name}_lower is {lower:g}, {name}_upper {upper:g}", hint="Exchange them")


class Stretching:
    """Resize an image at random, but to no less than crop_size.

    Reads ``transform_param``: img_rand_resize_lower and img_rand_resize_upper (0), between which the length of the
    shorter side is drawn, if both are given; rand_resize_ratio_lower and rand_resize_ratio_upper (0), between which the
    ratio of the longer side to the shorter one is drawn, if they are at least 1 and more than 1;
    vertical_stretch_lower and vertical_stretch_upper, horizontal_stretch_lower and horizontal_stretch_upper (1),
    between which factors of height and width are drawn; allow_upscale (false), without which no side becomes longer;
    interpolation_algo_down (INTER_NEAREST), or INTER_LINEAR, INTER_CUBIC, INTER_AREA, if no side becomes longer,
    interpolation_algo_up (INTER_CUBIC) otherwise; crop_size.
    Source: NVIDIA's data_transformer.cpp.
    """

    def __init__(self, param: TransformationParameter) -> None:
        check_stretching(param)
        self.param = param

    def least(self, height: int, width: int) -> Size:
        return self._size(height, width, lambda lower, upper: lower, coin=True)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        old_height, old_width = image.shape[1:]
        height, width = self._size(old_height, old_width, rng.uniform, coin=rng.random() < 0.5)
        if (height, width) == (old_height, old_width):
            return image
        smaller = height <= old_height and width <= old_width
        mode = self.param.interpolation_algo_down if smaller else self.param.interpolation_algo_up
        cv2 = import_cv2()
        interpolation = getattr(cv2, _INTERPOLATIONS[mode])
        return through_cv2(image, lambda x: cv2.resize(x, (width, height), interpolation=interpolation))

    def _size(self, height: int, width: int, draw: Callable[[float, float], float], coin: bool) -> Size:
        """Return the size that the numbers drawn give; a coin decides which side of a square becomes the longer one."""
        p, shorter = self.param, min(height, width)
        new = np.array([height, width], float)
        if p.img_rand_resize_lower and p.img_rand_resize_upper:
            new *= int(draw(p.img_rand_resize_lower, p.img_rand_resize_upper + 1)) / shorter
        if p.rand_resize_ratio_lower >= 1 and p.rand_resize_ratio_upper > 1:
            longer = int(coin) if height == width else int(width > height)
            new[longer] = new[1 - longer] * draw(p.rand_resize_ratio_lower, p.rand_resize_ratio_upper)
        if p.vertical_stretch_lower > 0 and p.vertical_stretch_upper > 0:
            new[0] *= draw(p.vertical_stretch_lower, p.vertical_stretch_upper)
        if p.horizontal_stretch_lower > 0 and p.horizontal_stretch_upper > 0:
            new[1] *= draw(p.horizontal_stretch_lower, p.horizontal_stretch_upper)
        rounded = np.maximum(np.floor(new + 0.5), max(1, p.crop_size))
        if not p.allow_upscale:
            rounded = np.minimum(rounded, [height, width])
        return int(rounded[0]), int(rounded[1])
