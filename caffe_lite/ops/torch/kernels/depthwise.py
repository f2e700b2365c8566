"""Convolutions that filter every channel by itself, of float32 tensors on the CPU: the kernels of ``depthwise.cpp``.

Images are tensors (N, C, H, W) in the memory order channels_last.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_bool, c_float, c_int64, c_void_p

import torch
from torch import Tensor

from ...windows import Ints, convolved
from ..channels_last import channels_last
from .native import had_memory, library

_LEAST_CHANNELS = 16  # those of the longest vector


def serves(x_shape: Ints, weight_shape: Ints, group: int) -> bool:
    if len(x_shape) != 4 or not group == x_shape[1] == weight_shape[0] >= _LEAST_CHANNELS or 0 in x_shape:
        return False
    return _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library("depthwise.cpp")
    if kernels is not None:
        forward, backward = (getattr(kernels, name) for name in ("depthwise", "depthwise_backward"))
        forward.argtypes = [*[c_void_p] * 4, c_float, c_void_p]
        backward.argtypes = [c_void_p] * 6
        forward.restype = backward.restype = c_bool
        forward.errcheck = backward.errcheck = had_memory
    return kernels


def _kernel(name: str) -> ctypes._NamedFuncPointer:
    return getattr(_library(), name)


def _shape(images: Tensor, windows: Tensor, *axes: Ints) -> ctypes.Array[c_int64]:
    return _packed(tuple(images.shape), tuple(windows.shape[2:]), *(tuple(numbers) for numbers in axes))


@functools.lru_cache(maxsize=1024)
def _packed(images: tuple[int, ...], *axes: tuple[int, ...]) -> ctypes.Array[c_int64]:
    """Make the Shape of depthwise.cpp, which reads it."""
    numbers = [*images[:2], *(number for axis in zip(images[2:], *axes, strict=True) for number in axis)]
    return (c_int64 * len(numbers))(*numbers)


# torch has these as operators, and compiled passes call them without seeing into them.
_WINDOWS = "int[] stride, int[] pad, int[] dilation"
torch.library.define(
    "caffe_lite::depthwise", f"(Tensor x, Tensor weight, Tensor? bias, float slope, {_WINDOWS}) -> Tensor"
)
torch.library.define(
    "caffe_lite::depthwise_backward",
    f"(Tensor dy, Tensor x, Tensor weight, {_WINDOWS}, bool need_x, bool need_weight) -> (Tensor, Tensor)",
)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, pad: Ints, dilation: Ints, slope: float = 1.0
) -> Tensor:
    """Convolve and add ``bias``; multiply negative results by ``slope``."""
    return torch.ops.caffe_lite.depthwise.default(x, weight, bias, slope, list(stride), list(pad), list(dilation))


def gradients(
    dy: Tensor, x: Tensor, weight: Tensor, stride: Ints, pad: Ints, dilation: Ints, need_x: bool, need_weight: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of images and weights; one that is not needed is empty."""
    return torch.ops.caffe_lite.depthwise_backward.default(
        dy, x, weight, list(stride), list(pad), list(dilation), need_x, need_weight
    )


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None or not x.numel() else x.data_ptr()


@torch.library.register_fake("caffe_lite::depthwise")
def _empty_result(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: float,
    stride: list[int],
    pad: list[int],
    dilation: list[int],
) -> Tensor:
    out = [convolved(*axis) for axis in zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, strict=True)]
    return torch.empty((*x.shape[:2], *out), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.impl("caffe_lite::depthwise", "cpu")
def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: float,
    stride: list[int],
    pad: list[int],
    dilation: list[int],
) -> Tensor:
    y = _empty_result(x, weight, bias, slope, stride, pad, dilation)
    x, taps, added = channels_last(x), weight.contiguous(), None if bias is None else bias.contiguous()
    _kernel("depthwise")(
        *(_shape(x, y, weight.shape[2:], stride, pad, dilation), x.data_ptr(), taps.data_ptr()),
        *(_pointer(added), slope, y.data_ptr()),
    )
    return y


@torch.library.register_fake("caffe_lite::depthwise_backward")
def _empty_gradients(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    pad: list[int],
    dilation: list[int],
    need_x: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    dx = torch.empty_like(x, memory_format=torch.channels_last) if need_x else x.new_empty(0)
    return dx, torch.empty(weight.shape if need_weight else 0, dtype=weight.dtype, device=weight.device)


@torch.library.impl("caffe_lite::depthwise_backward", "cpu")
def _gradients(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    pad: list[int],
    dilation: list[int],
    need_x: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    dx, dw = _empty_gradients(dy, x, weight, stride, pad, dilation, need_x, need_weight)
    dy, x, taps = channels_last(dy), channels_last(x), weight.contiguous()
    _kernel("depthwise_backward")(
        *(_shape(x, dy, weight.shape[2:], stride, pad, dilation), dy.data_ptr(), x.data_ptr(), taps.data_ptr()),
        *(_pointer(dx), _pointer(dw)),
    )
    return dx, dw
