"""Pooling for compiled passes: ATen's kernels as they are, as inductor's own are several times slower on CPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten
Ints = list[int]


_POOLING = "int[] kernel, int[] stride, int[] pad, bool ceil"


@torch.library.custom_op("caffe_lite::max_pool", mutates_args=(), schema=f"(Tensor x, {_POOLING}) -> (Tensor, Tensor)")
def _max_pool(x: Tensor, kernel: Ints, stride: Ints, pad: Ints, ceil: bool) -> tuple[Tensor, Tensor]:
    return aten.max_pool2d_with_indices(x, kernel, stride, pad, [1, 1], ceil)


@torch.library.custom_op(
    "caffe_lite::max_pool_backward",
    mutates_args=(),
    schema=f"(Tensor dy, int[] size, {_POOLING}, Tensor index) -> Tensor",
)
def _max_pool_backward(
    dy: Tensor, size: Ints, kernel: Ints, stride: Ints, pad: Ints, ceil: bool, index: Tensor
) -> Tensor:
    return aten.max_pool2d_with_indices_backward(dy, _like(index, size, dy), kernel, stride, pad, [1, 1], ceil, index)


@torch.library.custom_op(
    "caffe_lite::ave_pool_backward", mutates_args=(), schema=f"(Tensor dy, int[] size, {_POOLING}) -> Tensor"
)
def _ave_pool_backward(dy: Tensor, size: Ints, kernel: Ints, stride: Ints, pad: Ints, ceil: bool) -> Tensor:
    return aten.avg_pool2d_backward(dy, _like(dy, size, dy), kernel, stride, pad, ceil, True, None)


@_max_pool.register_fake
def _(x: Tensor, kernel: Ints, stride: Ints, pad: Ints, ceil: bool) -> tuple[Tensor, Tensor]:
    return aten.max_pool2d_with_indices(x, kernel, stride, pad, [1, 1], ceil)


@_max_pool_backward.register_fake
def _(dy: Tensor, size: Ints, kernel: Ints, stride: Ints, pad: Ints, ceil: bool, index: Tensor) -> Tensor:
    return _like(index, size, dy)


@_ave_pool_backward.register_fake
def _(dy: Tensor, size: Ints, kernel: Ints, stride: Ints, pad: Ints, ceil: bool) -> Tensor:
    return _like(dy, size, dy)


def _like(x: Tensor, size: Ints, values: Tensor) -> Tensor:
    """Return an array of this size whose axes have the same order in memory as those of ``x``."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    order = torch.channels_last if last else torch.contiguous_format
    return torch.empty(size, dtype=values.dtype, device=values.device, memory_format=order)


def _traced_max_pool(
    x: Tensor, kernel: Ints, stride: Ints, pad: Sequence[int] = (0, 0), dilation: Ints | int = 1, ceil: bool = False
) -> tuple[Tensor, Tensor]:
    return _max_pool(x, kernel, stride, list(pad), ceil)


def _traced_max_pool_backward(
    dy: Tensor, x: Tensor, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints, ceil: bool, index: Tensor
) -> Tensor:
    return _max_pool_backward(dy, list(x.shape), kernel, stride, pad, ceil, index)


def _traced_ave_pool_backward(
    dy: Tensor, x: Tensor, kernel: Ints, stride: Ints, pad: Ints, ceil: bool, include_pad: bool, divisor: int | None
) -> Tensor:
    return _ave_pool_backward(dy, list(x.shape), kernel, stride, pad, ceil)


# Given to make_fx: the functions that a trace records in place of ATen's operators.
OPAQUE: dict[OpOverload, Callable[..., Any]] = {
    aten.max_pool2d_with_indices.default: _traced_max_pool,
    aten.max_pool2d_with_indices_backward.default: _traced_max_pool_backward,
    aten.avg_pool2d_backward.default: _traced_ave_pool_backward,
}
