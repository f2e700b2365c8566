"""The memory order in which the torch engine keeps images: their channels innermost."""

from __future__ import annotations

import torch
from torch import Tensor

from ..windows import Ints


def channels_last(x: Tensor) -> Tensor:
    """The same images or filters with the channels innermost, others in row-major order; not copied if they are so.

    The strides are those of a fresh array. Any stride will do for an axis of one element, but torch judges by them
    which order it should go on with, and oneDNN computes wrong gradients from some.
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
