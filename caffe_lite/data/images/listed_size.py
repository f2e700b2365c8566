"""The sizes that image_data_param asks for."""

from __future__ import annotations

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import ImageDataParameter

Size = tuple[int, int]


def check_listed_size(param: ImageDataParameter) -> None:
    """Refuse an image_data_param that gives only one of two sizes."""
    for prefix in ("new", "min"):
        if bool(getattr(param, f"{prefix}_height")) != bool(getattr(param, f"{prefix}_width")):
            raise LayerError(f"one of {prefix}_height and {prefix}_width is given", hint="Give both, or none")


def has_one_size(param: ImageDataParameter) -> bool:
    """Return whether all images get the same size."""
    return bool(param.new_height and not param.short_side)


def listed_size(param: ImageDataParameter, height: int, width: int) -> Size:
    """Return the height and width that an image of this size gets.

    Reads ``image_data_param``: short_side (0), the length of the shorter side, with the longer one in proportion and
    rounded down; else new_height and new_width (0); else min_height and min_width (0): if a side is shorter than this,
    the one that lacks more gets this length, and the other one is in proportion.
    """
    p = param
    if p.short_side:
        least = min(height, width)
        return height * p.short_side // least, width * p.short_side // least
    if p.new_height:
        return p.new_height, p.new_width
    if height >= p.min_height and width >= p.min_width:
        return height, width
    if p.min_width - width > p.min_height - height:
        return _in_proportion(p.min_width, height, width), p.min_width
    return p.min_height, _in_proportion(p.min_height, width, height)


def _in_proportion(length: int, other: int, side: int) -> int:
    """Return the length of the other side, rounded, if a side gets this length."""
    return max(1, int(np.float32(length) * (np.float32(other) / np.float32(side)) + 0.5))
