"""random_aspect_ratio_param: a part of an image, of random area and shape, made as large as the crop."""

from __future__ import annotations

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import RandomAspectRatioParameter
from .resizing import resize
from .shorter_side import sized, with_shorter_side
from .sizing import Size, cut_out


def check_area_crop(param: RandomAspectRatioParameter, crop_size: int) -> None:
    """Refuse bounds that cannot be drawn from."""
    if not crop_size:
        raise LayerError("random_aspect_ratio_param needs a crop_size", hint="Set crop_size in transform_param")
    if not 0 < param.min_area_ratio <= param.max_area_ratio:
        raise LayerError(
            f"random_aspect_ratio_param draws areas from {param.min_area_ratio:g} to {param.max_area_ratio:g}",
            hint="Set 0 < min_area_ratio <= max_area_ratio",
        )
    if param.aspect_ratio_change <= 0:
        raise LayerError(
            f"aspect_ratio_change in random_aspect_ratio_param is {param.aspect_ratio_change:g}",
            hint="It must be more than 0",
        )


class AreaCrop:
    """Cut out a patch, and resize it to crop_size; if none fits, make the image's shorter side as long as crop_size.

    Reads ``random_aspect_ratio_param``: min_area_ratio (0.5) and max_area_ratio (1), the patch's share of the area;
    aspect_ratio_change (1), up to which one side is multiplied and the other divided, either way; max_attempt (10);
    resize_param, but not its height and width. ``transform_param``: crop_size.
    Source: Intel's data_transformer.cpp, after Szegedy et al., Going Deeper with Convolutions, CVPR 2015.
    """

    def __init__(self, param: RandomAspectRatioParameter, crop_size: int) -> None:
        check_area_crop(param, crop_size)
        self.param = param
        self.crop_size = crop_size

    def least(self, height: int, width: int) -> Size:
        return self.crop_size, self.crop_size

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        p, (height, width) = self.param, image.shape[1:]
        least, most = sorted((p.aspect_ratio_change, 1 / p.aspect_ratio_change))
        for _ in range(p.max_attempt):
            side = np.sqrt(rng.uniform(p.min_area_ratio, p.max_area_ratio) * height * width)
            change = rng.uniform(least, most)
            sides = max(1, int(side * change)), max(1, int(side / change))
            high, wide = sides if rng.random() < 0.5 else sides[::-1]
            if high <= height and wide <= width:
                top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
                square = sized(p.resize_param, self.crop_size, self.crop_size)
                return resize(square, cut_out(image, int(top), int(left), high, wide), rng)
        return resize(with_shorter_side(p.resize_param, self.crop_size, height, width), image, rng)
