"""Max pooling of float32 tensors on the CPU with the kernels of ``max_pooling.cpp``.

Images are tensors (N, C, H, W) in the memory order channels_last. The choice is that of ``Ops.max_pool``.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from ...windows import Ints
from ..channels_last import channels_last
from .native import library

_LEAST_CHANNELS = 16  # those of the longest vector


def serves(x_shape: Ints) -> bool:
    return len(x_shape) == 4 and x_shape[1] >= _LEAST_CHANNELS and 0 not in x_shape and _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library("max_pooling.cpp")
    if kernels is not None:
        for kernel in (kernels.max_pool, kernels.max_pool_backward):
            kernel.argtypes, kernel.restype = [c_void_p] * 4, None
    return kernels


def _kernel(name: str) -> ctypes._NamedFuncPointer:
    return getattr(_library(), name)


def _shape(images: Tensor, windows: Tensor, kernel: Ints, stride: Ints, pad: Ints) -> ctypes.Array[c_int64]:
    return _packed(images.shape, windows.shape[2:], tuple(kernel), tuple(stride), tuple(pad))


@functools.lru_cache(maxsize=1024)
def _packed(images: tuple[int, ...], *axes: tuple[int, ...]) -> ctypes.Array[c_int64]:
    """Make the Shape of max_pooling.cpp, which reads it."""
    numbers = [*images[:2], *(number for axis in zip(images[2:], *axes, strict=True) for number in axis)]
    return (c_int64 * len(numbers))(*numbers)


# torch has these as operators, and compiled passes call them without seeing into them.
_WINDOWS = "int[] kernel, int[] stride, int[] pad"
torch.library.define("caffe_lite::native_max_pool", f"(Tensor x, {_WINDOWS}, int[] out) -> (Tensor, Tensor)")
torch.library.define(
    "caffe_lite::native_max_pool_backward", f"(Tensor dy, Tensor choice, {_WINDOWS}, int[] size) -> Tensor"
)


def max_pool(x: Tensor, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> tuple[Tensor, Tensor]:
    """Return the largest element of each window (a NaN is larger than all), and the choice."""
    return torch.ops.caffe_lite.native_max_pool.default(x, list(kernel), list(stride), list(pad), list(out))


def max_pool_backward(dy: Tensor, choice: Tensor, kernel: Ints, stride: Ints, pad: Ints, size: Ints) -> Tensor:
    """Return the gradient of the images, which have this height and width."""
    return torch.ops.caffe_lite.native_max_pool_backward.default(
        dy, choice, list(kernel), list(stride), list(pad), list(size)
    )


def _empty(like: Tensor, size: list[int]) -> Tensor:
    return torch.empty(
        (*like.shape[:2], *size), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


@torch.library.register_fake("caffe_lite::native_max_pool")
def _empty_windows(
    x: Tensor, kernel: list[int], stride: list[int], pad: list[int], out: list[int]
) -> tuple[Tensor, Tensor]:
    return _empty(x, out), _empty(x, out)


@torch.library.impl("caffe_lite::native_max_pool", "cpu")
def _max_pool(x: Tensor, kernel: list[int], stride: list[int], pad: list[int], out: list[int]) -> tuple[Tensor, Tensor]:
    x, (y, choice) = channels_last(x), _empty_windows(x, kernel, stride, pad, out)
    _kernel("max_pool")(_shape(x, y, kernel, stride, pad), x.data_ptr(), y.data_ptr(), choice.data_ptr())
    return y, choice


@torch.library.register_fake("caffe_lite::native_max_pool_backward")
def _empty_images(
    dy: Tensor, choice: Tensor, kernel: list[int], stride: list[int], pad: list[int], size: list[int]
) -> Tensor:
    return _empty(dy, size)


@torch.library.impl("caffe_lite::native_max_pool_backward", "cpu")
def _max_pool_backward(
    dy: Tensor, choice: Tensor, kernel: list[int], stride: list[int], pad: list[int], size: list[int]
) -> Tensor:
    dy, choice, dx = channels_last(dy), channels_last(choice), _empty(dy, size)
    _kernel("max_pool_backward")(_shape(dx, dy, kernel, stride, pad), dy.data_ptr(), choice.data_ptr(), dx.data_ptr())
    return dx
