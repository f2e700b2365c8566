"""BatchNorm of float32 tensors on the CPU with the kernels of ``batch_norm.cpp``, which also scale and rectify.

Images are tensors (N, C, H, W) in the memory order channels_last.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_bool, c_float, c_int64, c_void_p
from typing import NamedTuple

import torch
from torch import Tensor

from ..channels_last import channels_last
from .native import had_memory, library


class Saved(NamedTuple):
    """The values of a forward pass that its gradient needs."""

    mean: Tensor
    inverse_std: Tensor


def serves(x: Tensor) -> bool:
    fits = x.ndim == 4 and x.numel() > 0 and x.device.type == "cpu" and x.dtype == torch.float32
    return fits and _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library("batch_norm.cpp")
    if kernels is not None:
        forward, backward = (getattr(kernels, name) for name in ("batch_norm", "batch_norm_backward"))
        forward.argtypes = [*[c_void_p] * 4, c_float, c_float, *[c_void_p] * 4]
        backward.argtypes = [*[c_void_p] * 7, c_float, *[c_void_p] * 3]
        forward.restype = backward.restype = c_bool
        forward.errcheck = backward.errcheck = had_memory
    return kernels


def _kernel(name: str) -> ctypes._NamedFuncPointer:
    return getattr(_library(), name)


def _shape(x: Tensor) -> ctypes.Array[c_int64]:
    """Make the Shape of batch_norm.cpp."""
    n, channels, height, width = x.shape
    return (c_int64 * 2)(n * height * width, channels)


# torch has these as operators, and compiled passes call them without seeing into them.
torch.library.define(
    "caffe_lite::batch_norm",
    "(Tensor x, Tensor scale, Tensor? shift, float eps, float slope) -> (Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "caffe_lite::batch_norm_backward",
    "(Tensor dy, Tensor x, Tensor? y, Tensor mean, Tensor inverse_std, Tensor scale, float slope, bool need_x)"
    " -> (Tensor, Tensor, Tensor)",
)


def batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor | None, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor, Saved]:
    """Normalise ``x``, multiply by ``scale``, add ``shift``, and multiply negative results by ``slope``.

    Returns the result, the mean, the unbiased variance and the values for ``batch_norm_backward``.
    """
    y, mean, variance, inverse_std = torch.ops.caffe_lite.batch_norm.default(x, scale, shift, eps, slope)
    return y, mean, variance, Saved(mean, inverse_std)


def batch_norm_backward(
    dy: Tensor, x: Tensor, y: Tensor | None, saved: Saved, scale: Tensor, slope: float, need_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x (empty if not needed), scale and shift; with ``y``, through its rectifier."""
    return torch.ops.caffe_lite.batch_norm_backward.default(dy, x, y, *saved, scale, slope, need_x)


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


@torch.library.register_fake("caffe_lite::batch_norm")
def _empty_results(
    x: Tensor, scale: Tensor, shift: Tensor | None, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_like(x), torch.empty_like(scale), torch.empty_like(scale), torch.empty_like(scale)


@torch.library.impl("caffe_lite::batch_norm", "cpu")
def _batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor | None, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, scale, shift = channels_last(x), scale.contiguous(), None if shift is None else shift.contiguous()
    results = _empty_results(x, scale, shift, eps, slope)
    _kernel("batch_norm")(
        *(_shape(x), x.data_ptr(), scale.data_ptr(), _pointer(shift), eps, slope),
        *(result.data_ptr() for result in results),
    )
    return results


@torch.library.register_fake("caffe_lite::batch_norm_backward")
def _empty_gradients(
    dy: Tensor,
    x: Tensor,
    y: Tensor | None,
    mean: Tensor,
    inverse_std: Tensor,
    scale: Tensor,
    slope: float,
    need_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_like(x) if need_x else x.new_empty(0), torch.empty_like(scale), torch.empty_like(scale)


@torch.library.impl("caffe_lite::batch_norm_backward", "cpu")
def _batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    y: Tensor | None,
    mean: Tensor,
    inverse_std: Tensor,
    scale: Tensor,
    slope: float,
    need_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    dy, x, y = channels_last(dy), channels_last(x), None if y is None else channels_last(y)
    scale = scale.contiguous()
    dx, dscale, dshift = _empty_gradients(dy, x, y, mean, inverse_std, scale, slope, need_x)
    _kernel("batch_norm_backward")(
        *(_shape(x), dy.data_ptr(), x.data_ptr(), _pointer(y), mean.data_ptr(), inverse_std.data_ptr()),
        *(scale.data_ptr(), slope, dx.data_ptr() if need_x else None, dscale.data_ptr(), dshift.data_ptr()),
    )
    return dx, dscale, dshift
