"""random_resize_param: an image whose shorter side has a random length, and which keeps its shape."""

from __future__ import annotations

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import RandomResizeParameter, ResizeParameter
from .resizing import resize
from .sizing import Size


def check_shorter_side(param: RandomResizeParameter) -> None:
    """Refuse bounds in the wrong order."""
    if param.max_size and param.min_size > param.max_size:
        raise LayerError(
            f"min_size in random_resize_param is {param.min_size}, more than max_size, {param.max_size}",
            hint="Exchange them",
        )


def with_shorter_side(param: ResizeParameter, length: int, height: int, width: int) -> ResizeParameter:
    """Return a resize_param that makes the shorter side of images of this size so long."""
    longer = int(np.float32(max(height, width)) / np.float32(min(height, width)) * np.float32(length))
    return sized(param, *((length, longer) if height < width else (longer, length)))


def sized(param: ResizeParameter, height: int, width: int) -> ResizeParameter:
    """Return a resize_param with another height and width."""
    other = ResizeParameter()
    other.CopyFrom(param)
    other.height, other.width = height, width
    return other


class ShorterSide:
    """Draw the length of the shorter side from min_size to max_size; 0 stands for the image's shorter or longer side.

    Reads ``random_resize_param``: min_size (0), max_size (0); resize_param, but not its height and width.
    Source: Intel's data_transformer.cpp.
    """

    def __init__(self, param: RandomResizeParameter) -> None:
        check_shorter_side(param)
        self.param = param

    def least(self, height: int, width: int) -> Size:
        param = with_shorter_side(self.param.resize_param, self._bounds(height, width)[0], height, width)
        return param.height, param.width

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[1:]
        least, most = self._bounds(height, width)
        length = int(rng.integers(least, most, endpoint=True))
        return resize(with_shorter_side(self.param.resize_param, length, height, width), image, rng)

    def _bounds(self, height: int, width: int) -> tuple[int, int]:
        least = self.param.min_size or min(height, width)
        return least, max(least, self.param.max_size or max(height, width))
