"""The memory order of images in the torch engine: channels innermost."""

from __future__ import annotations

import torch
from torch import Tensor

from ..windows import Ints


def channels_last(x: Tensor) -> Tensor:
    """Return images or filters with their channels innermost, other arrays in row-major order; copy only if needed.

    The strides are those of a new array. For an axis of one element any stride would be valid, but torch chooses the
    order of its results by the strides, and oneDNN computes wrong gradients from some.
    """
    strides = _strides(x.shape)
    if x.stride() == strides:
        return x
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.contiguous_format)
    return x if x.stride() == strides else x.as_strided(x.shape, strides)


def _strides(shape: Ints) -> tuple[int, ...]:
    if len(shape) == 4:
        _, c, h, w = shape
        return h * w * c, 1, w * c, c
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(1, size)
    return tuple(reversed(strides))
