"""Convolutions of float32 tensors on the CPU by Winograd's minimal filtering: faster, with slightly more rounding.

They serve filters of 3 x 3 and 5 x 5 with stride 1 if the kernels of ``winograd.cpp`` can be compiled; ``best_tile``
decides whether they are worthwhile. Images are tensors (N, C, H, W) in the memory order channels_last.
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

# How many results a tile may have in each direction, by the size of the filters, as winograd.cpp instantiates them.
_TILES = {3: (2, 4), 5: (4,)}

# Costs, as the number of multiplications that take the same time: a multiplication in a matrix product of transformed
# values; transforming and reading the value of a pixel; transforming that of a filter near its product, or reading it
# from memory; making a gradient of it; reading a tap. Measured beside kernels of oneDNN's speed.
_PRODUCT, _PIXEL, _FILTER, _FILTER_GRADIENT, _TAP = 1.2, 20, 16, 8, 24


def best_tile(
    x_shape: Ints,
    weight_shape: Ints,
    stride: Ints,
    pad: Ints,
    dilation: Ints,
    group: int,
    *,
    gradient: bool = False,
) -> int:
    """Return the best tile for a convolution, or for the gradient of its weights; 0 if oneDNN is as fast."""
    sizes = (tuple(numbers) for numbers in (x_shape, weight_shape, stride, pad, dilation))
    tile = _cheapest_tile(*sizes, group, gradient)
    return tile if tile and _library() is not None else 0


@functools.lru_cache(maxsize=4096)
def _cheapest_tile(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
    gradient: bool,
) -> int:
    n, channels, *image = x_shape
    outs, _, *kernel = weight_shape
    size = kernel[0]
    if len(kernel) != 2 or kernel[1] != size or size not in _TILES or not all(0 <= p < size for p in pad):
        return 0
    if any(s != 1 for s in (*stride, *dilation)) or 0 in x_shape:
        return 0
    height, width = _out(image, size, pad)
    ins, outs = channels // group, outs // group
    row, out_row = (16 * ceil(channels / 16) for channels in (ins, outs))  # whole vectors

    def cost(tile: int) -> float:
        tiles = n * ceil(height / tile) * ceil(width / tile)
        values = tiles * (row * ceil(outs / 64) + out_row * ceil(ins / 64) if gradient else row + out_row)
        products = (_PRODUCT * tiles + (_FILTER_GRADIENT if gradient else _FILTER)) * ins * out_row
        return (tile + size - 1) ** 2 * (products + _PIXEL * values)

    tile = min(_TILES[size], key=cost)
    direct = (n * height * width + _TAP) * ins * outs * size * size
    return 0 if cost(tile) > 0.9 * direct else tile


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library("winograd.cpp")
    if kernels is None:
        return None
    shape = c_void_p
    for size, tiles in _TILES.items():
        for tile in tiles:
            floats, filters, convolution, once, gradient = (
                getattr(kernels, f"{name}_{tile}_{size}")
                for name in ("filter_floats", "filters", "convolution", "convolution_once", "gradient")
            )
            floats.argtypes, floats.restype = [c_int64] * 3, c_int64
            filters.argtypes, filters.restype = [c_void_p, *[c_int64] * 3, c_void_p], None
            convolution.argtypes, convolution.restype = [shape, *[c_void_p] * 4, c_float, c_void_p], c_bool
            once.argtypes, once.restype = [shape, c_void_p, c_void_p, c_bool, c_void_p, c_void_p], c_bool
            gradient.argtypes, gradient.restype = [shape, *[c_void_p] * 3], c_bool
            convolution.errcheck = once.errcheck = gradient.errcheck = had_memory
    return kernels


@functools.cache
def _kernel(name: str, tile: int, size: int) -> ctypes._NamedFuncPointer:
    return getattr(_library(), f"{name}_{tile}_{size}")


def _shape(x: Tensor, y: Tensor, pad: Ints, group: int) -> ctypes.Array[c_int64]:
    """Make the Shape of winograd.cpp."""
    (n, channels, height, width), (_, outs, *out) = x.shape, y.shape
    return (c_int64 * 10)(n, height, width, channels, *out, outs, *pad, group)


# torch has these as operators, and compiled passes call them without seeing into them.
torch.library.define("caffe_lite::winograd_filters", "(Tensor weight, int tile, int group) -> Tensor")
torch.library.define(
    "caffe_lite::winograd_convolution",
    "(Tensor x, Tensor filters, Tensor? bias, Tensor? addend, float slope, int tile, int size, int outs, int[] pad,"
    " int group) -> Tensor",
)
torch.library.define(
    "caffe_lite::winograd_convolution_once",
    "(Tensor x, Tensor weight, Tensor? bias, bool turned, int tile, int[] pad, int group) -> Tensor",
)
torch.library.define(
    "caffe_lite::winograd_weight_gradient", "(Tensor dy, Tensor x, int tile, int size, int[] pad, int group) -> Tensor"
)


def filters(weight: Tensor, tile: int, group: int) -> Tensor:
    """Transform the filters (outs, ins / group, size, size), to be kept."""
    return torch.ops.caffe_lite.winograd_filters.default(weight, tile, group)


def convolution(
    x: Tensor,
    filters: Tensor,
    bias: Tensor | None,
    tile: int,
    size: int,
    outs: int,
    pad: Ints,
    group: int,
    addend: Tensor | None = None,
    slope: float = 1.0,
) -> Tensor:
    """Convolve with transformed filters, add ``bias`` and ``addend``, and multiply negative results by ``slope``."""
    return torch.ops.caffe_lite.winograd_convolution.default(
        x, filters, bias, addend, slope, tile, size, outs, list(pad), group
    )


def convolution_once(x: Tensor, weight: Tensor, bias: Tensor | None, tile: int, pad: Ints, group: int) -> Tensor:
    """Convolve with filters that are not transformed yet, and add ``bias``."""
    return torch.ops.caffe_lite.winograd_convolution_once.default(x, weight, bias, False, tile, list(pad), group)


def image_gradient(dy: Tensor, weight: Tensor, tile: int, pad: Ints, group: int) -> Tensor:
    """Return the gradient of a convolution's images: a convolution with the filters turned by 180 degrees."""
    opposite = _opposite(weight.shape[2], pad)
    return torch.ops.caffe_lite.winograd_convolution_once.default(dy, weight, None, True, tile, opposite, group)


def weight_gradient(dy: Tensor, x: Tensor, tile: int, size: int, pad: Ints, group: int) -> Tensor:
    """Return the gradient of a convolution's weights."""
    return torch.ops.caffe_lite.winograd_weight_gradient.default(dy, x, tile, size, list(pad), group)


def best_tile_back(dy_shape: Ints, weight_shape: Ints, stride: Ints, pad: Ints, dilation: Ints, group: int) -> int:
    """Return the best tile for the gradient of the images; 0 if oneDNN is as fast."""
    outs, ins, *kernel = weight_shape
    turned = ins * group, outs // group, *kernel
    return best_tile(dy_shape, turned, stride, _opposite(kernel[0], pad), dilation, group)


def _opposite(size: int, pad: Ints) -> list[int]:
    return [size - 1 - p for p in pad]


def _out(image: Ints, size: int, pad: Ints) -> list[int]:
    return [convolved(i, size, 1, p) for i, p in zip(image, pad, strict=True)]


@torch.library.register_fake("caffe_lite::winograd_filters")
def _empty_filters(weight: Tensor, tile: int, group: int) -> Tensor:
    outs, ins, size, _ = weight.shape
    floats = _kernel("filter_floats", tile, size)(outs, ins * group, group)
    return torch.empty(floats, dtype=weight.dtype, device=weight.device)


@torch.library.impl("caffe_lite::winograd_filters", "cpu")
def _filters(weight: Tensor, tile: int, group: int) -> Tensor:
    values, taps = _empty_filters(weight, tile, group), weight.contiguous()
    outs, ins, size, _ = weight.shape
    _kernel("filters", tile, size)(taps.data_ptr(), outs, ins * group, group, values.data_ptr())
    return values


@torch.library.register_fake("caffe_lite::winograd_convolution")
def _empty_result(
    x: Tensor,
    filters: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    slope: float,
    tile: int,
    size: int,
    outs: int,
    pad: list[int],
    group: int,
) -> Tensor:
    return _empty(x, outs, size, pad)


@torch.library.impl("caffe_lite::winograd_convolution", "cpu")
def _convolution(
    x: Tensor,
    filters: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    slope: float,
    tile: int,
    size: int,
    outs: int,
    pad: list[int],
    group: int,
) -> Tensor:
    y = _empty_result(x, filters, bias, addend, slope, tile, size, outs, pad, group)
    given = [channels_last(x), filters, bias, None if addend is None else channels_last(addend)]
    pointers = [None if array is None else array.data_ptr() for array in given]
    _kernel("convolution", tile, size)(_shape(x, y, pad, group), *pointers, slope, y.data_ptr())
    return y


@torch.library.register_fake("caffe_lite::winograd_convolution_once")
def _empty_result_once(
    x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool, tile: int, pad: list[int], group: int
) -> Tensor:
    outs = weight.shape[1] * group if turned else weight.shape[0]
    return _empty(x, outs, weight.shape[2], pad)


@torch.library.impl("caffe_lite::winograd_convolution_once", "cpu")
def _convolution_once(
    x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool, tile: int, pad: list[int], group: int
) -> Tensor:
    y = _empty_result_once(x, weight, bias, turned, tile, pad, group)
    x, taps = channels_last(x), weight.contiguous()
    _kernel("convolution_once", tile, weight.shape[2])(
        *(_shape(x, y, pad, group), x.data_ptr(), taps.data_ptr(), turned),
        *(None if bias is None else bias.data_ptr(), y.data_ptr()),
    )
    return y


@torch.library.register_fake("caffe_lite::winograd_weight_gradient")
def _empty_gradient(dy: Tensor, x: Tensor, tile: int, size: int, pad: list[int], group: int) -> Tensor:
    return torch.empty(dy.shape[1], x.shape[1] // group, size, size, dtype=dy.dtype, device=dy.device)


@torch.library.impl("caffe_lite::winograd_weight_gradient", "cpu")
def _weight_gradient(dy: Tensor, x: Tensor, tile: int, size: int, pad: list[int], group: int) -> Tensor:
    dw = _empty_gradient(dy, x, tile, size, pad, group)
    x, dy = channels_last(x), channels_last(dy)
    _kernel("gradient", tile, size)(_shape(x, dy, pad, group), x.data_ptr(), dy.data_ptr(), dw.data_ptr())
    return dw


def _empty(x: Tensor, outs: int, size: int, pad: Ints) -> Tensor:
    shape = x.shape[0], outs, *_out(x.shape[2:], size, pad)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
