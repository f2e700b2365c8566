"""Convolutions of float32 images with few channels, as in the first layers of nets, on the CPU.

The kernels of ``winograd_rows.cpp`` serve filters of at least five columns, three to five times the stride.
Images are tensors (N, C, H, W) in the memory order channels_last.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_bool, c_float, c_int64, c_void_p
from math import ceil

import torch
from torch import Tensor

from ...windows import Ints, convolved
from ..channels_last import channels_last
from .native import had_memory, library

# How many results a tile has, by the taps of a filter in a row over the stride, as winograd_rows.cpp has them.
_TILES = {3: 4, 4: 5, 5: 4}

# Least sizes of a filter that make up for the transforms: its columns, and its elements in a column and a stride.
# Images with more channels than this are better transformed in both directions.
_LEAST_COLUMNS, _LEAST_INNER, _MOST_CHANNELS = 5, 15, 4


def serves(x_shape: Ints, weight_shape: Ints, stride: Ints, dilation: Ints, group: int) -> bool:
    if len(weight_shape) != 4 or group != 1 or any(d != 1 for d in dilation) or 0 in x_shape:
        return False
    _, channels, rows, columns = weight_shape
    inner = rows * channels * stride[1]
    if channels > _MOST_CHANNELS or columns < _LEAST_COLUMNS or inner < _LEAST_INNER:
        return False
    return _taps(columns, stride) in _TILES and _library() is not None


def _taps(columns: int, stride: Ints) -> int:
    return ceil(columns / stride[1])


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library("winograd_rows.cpp")
    if kernels is None:
        return None
    for taps, tile in _TILES.items():
        convolution, gradient = (getattr(kernels, f"{name}_{tile}_{taps}") for name in ("convolution", "gradient"))
        convolution.argtypes, convolution.restype = [*[c_void_p] * 4, c_float, c_void_p], c_bool
        gradient.argtypes, gradient.restype = [c_void_p] * 4, c_bool
        convolution.errcheck = gradient.errcheck = had_memory
    return kernels


def _kernel(name: str, kernel: Ints, stride: Ints) -> ctypes._NamedFuncPointer:
    taps = _taps(kernel[1], stride)
    return getattr(_library(), f"{name}_{_TILES[taps]}_{taps}")


def _shape(x: Tensor, y: Tensor, kernel: Ints, stride: Ints, pad: Ints) -> ctypes.Array[c_int64]:
    """Make the Shape of winograd_rows.cpp."""
    (n, channels, height, width), (_, outs, *out) = x.shape, y.shape
    return (c_int64 * 13)(n, height, width, channels, *out, outs, *kernel, *stride, *pad)


# torch has these as operators, and compiled passes call them without seeing into them.
torch.library.define(
    "caffe_lite::rows_convolution",
    "(Tensor x, Tensor weight, Tensor? bias, float slope, int[] stride, int[] pad) -> Tensor",
)
torch.library.define(
    "caffe_lite::rows_weight_gradient", "(Tensor dy, Tensor x, int[] kernel, int[] stride, int[] pad) -> Tensor"
)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, pad: Ints, slope: float = 1.0) -> Tensor:
    """Convolve and add ``bias``; multiply negative results by ``slope``."""
    return torch.ops.caffe_lite.rows_convolution.default(x, weight, bias, slope, list(stride), list(pad))


def weight_gradient(dy: Tensor, x: Tensor, kernel: Ints, stride: Ints, pad: Ints) -> Tensor:
    """Return the gradient of a convolution's weights."""
    return torch.ops.caffe_lite.rows_weight_gradient.default(dy, x, list(kernel), list(stride), list(pad))


@torch.library.register_fake("caffe_lite::rows_convolution")
def _empty_result(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: float, stride: list[int], pad: list[int]
) -> Tensor:
    out = [convolved(*axis) for axis in zip(x.shape[2:], weight.shape[2:], stride, pad, strict=True)]
    shape = x.shape[0], weight.shape[0], *out
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.impl("caffe_lite::rows_convolution", "cpu")
def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: float, stride: list[int], pad: list[int]
) -> Tensor:
    y = _empty_result(x, weight, bias, slope, stride, pad)
    x, taps = channels_last(x), weight.contiguous()
    kernel = weight.shape[2:]
    _kernel("convolution", kernel, stride)(
        *(_shape(x, y, kernel, stride, pad), x.data_ptr(), taps.data_ptr()),
        *(None if bias is None else bias.data_ptr(), slope, y.data_ptr()),
    )
    return y


@torch.library.register_fake("caffe_lite::rows_weight_gradient")
def _empty_gradient(dy: Tensor, x: Tensor, kernel: list[int], stride: list[int], pad: list[int]) -> Tensor:
    return torch.empty(dy.shape[1], x.shape[1], *kernel, dtype=dy.dtype, device=dy.device)


@torch.library.impl("caffe_lite::rows_weight_gradient", "cpu")
def _weight_gradient(dy: Tensor, x: Tensor, kernel: list[int], stride: list[int], pad: list[int]) -> Tensor:
    dw = _empty_gradient(dy, x, kernel, stride, pad)
    x, dy = channels_last(x), channels_last(dy)
    _kernel("gradient", kernel, stride)(_shape(x, dy, kernel, stride, pad), x.data_ptr(), dy.data_ptr(), dw.data_ptr())
    return dw
