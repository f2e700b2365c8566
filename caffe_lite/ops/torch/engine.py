"""The torch engine: ATen's forward and backward operators called directly, without autograd.

In memory, images are (N, H, W, C), torch's channels_last, although layers see (N, C, H, W): convolution and pooling are
fastest with that. Parameters are in row-major order, as code that writes into them expects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..array import Gradients, Need
from ..base import Choice, Compiled, Function, Ops
from ..memory import recycle_freed_memory
from ..windows import Ints, pooled
from . import fused, onednn
from .channels_last import channels_last
from .kernels import depthwise, max_pooling, winograd, winograd_rows

aten = torch.ops.aten

_LARGE_PRODUCT = 100_000  # multiplications

if hasattr(os, "register_at_fork"):
    # The child lacks OpenMP's other threads and would wait for them forever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class TorchOps(Ops[Tensor]):
    """The operations on tensors of one device."""

    name = "torch"
    array_type = Tensor
    image_order = (0, 2, 3, 1)
    fused = fused

    def __init__(self, dtype: str = "float32", device: str = "cpu") -> None:
        recycle_freed_memory()
        super().__init__(torch, dtype)
        self.device = device
        self.shares_memory = not self.on_gpu
        self.native = dtype == "float32" and not self.on_gpu
        self.onednn = self.native and torch.backends.mkldnn.is_available()

    def describe(self) -> str:
        if self.on_gpu:
            return f"{self.name}, on {self.device} ({torch.cuda.get_device_name(self.device)})"
        return f"{self.name}, on {torch.get_num_threads()} threads of the CPU"

    def compile(self, name: str, function: Function[Tensor]) -> Compiled[Tensor]:
        from .compiling import CompiledFunction

        return CompiledFunction(self, name, function)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        # Not inference_mode: a user may write into the results of a pass. Some layers compute on the host, with NumPy.
        with torch.no_grad(), np.errstate(all="ignore"):
            yield

    def ran_out_of_memory(self, error: Exception) -> bool:
        # On the CPU it is a plain RuntimeError.
        return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "can't allocate memory" in str(error)

    # -- arrays ------------------------------------------------------------------------------------------------------

    def zeros(self, shape: Ints) -> Tensor:
        return self.full(shape, 0.0)

    def full(self, shape: Ints, value: float) -> Tensor:
        return torch.full(tuple(shape), value, dtype=self.dtype, device=self.device)

    def scalar(self, value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=self.dtype, device=self.device)

    def asarray(self, values: np.ndarray) -> Tensor:
        if isinstance(values, np.ndarray) and (not values.flags.writeable or min(values.strides, default=0) < 0):
            values = values.copy()
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def copy(self, x: Tensor) -> Tensor:
        return x.clone()

    def row_major(self, x: Tensor) -> Tensor:
        return x.contiguous()

    def host_view(self, x: Tensor) -> np.ndarray:
        if self.tracer is not None:
            raise NotImplementedError("it computes on the host, from the values that it is given")
        values = x.numpy(force=True)
        if not self.shares_memory:
            values = values.copy(order="K")
            values.flags.writeable = False
        return values

    def version(self, x: Tensor) -> int | None:
        try:
            return x._version
        except RuntimeError:  # torch does not count in a user's inference mode
            return None

    def indices(self, x: Tensor | np.ndarray) -> Tensor:
        return x.to(torch.int64) if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.int64, device=self.device)

    def astype(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)

    def concat(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(arrays), axis)

    def transpose(self, x: Tensor, axes: Ints) -> Tensor:
        return x.permute(tuple(axes))

    def max(self, x: Tensor, axis: int, keepdims: bool = False) -> Tensor:
        return x.amax(axis, keepdim=keepdims)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return x.sum() if axis is None and not keepdims else x.sum(axis, keepdim=keepdims)

    def flip(self, x: Tensor, axis: int) -> Tensor:
        return x.flip(axis)

    def sum_rows(self, rows: Tensor, index: Tensor, count: int) -> Tensor:
        flat = rows.reshape(rows.shape[0], prod(rows.shape[1:]))
        return aten.embedding_dense_backward(flat, index, count, -1, False).reshape(count, *rows.shape[1:])

    def number(self, x: Tensor) -> float:
        return x.item()

    # -- neurons and classes -----------------------------------------------------------------------------------------

    def at_least(self, x: Tensor, bound: float) -> Tensor:
        return x.clamp_min(bound)

    def clamp(self, x: Tensor, least: float, most: float) -> Tensor:
        return x.clamp(least, most)

    def clamp_backward(self, dy: Tensor, x: Tensor, least: float, most: float) -> Tensor:
        return aten.hardtanh_backward(dy, x, least, most)

    def multiply_add(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.addcmul(z, x, y)

    def elu(self, x: Tensor, alpha: float, scale: float) -> Tensor:
        return aten.elu(x, alpha, scale)

    def elu_backward(self, dy: Tensor, x: Tensor, y: Tensor, alpha: float, scale: float) -> Tensor:
        return aten.elu_backward(dy, alpha, scale, 1.0, False, x)

    def hard_swish(self, x: Tensor) -> Tensor:
        return aten.hardswish(x)

    def hard_swish_backward(self, dy: Tensor, x: Tensor) -> Tensor:
        return aten.hardswish_backward(dy, x)

    def mish(self, x: Tensor) -> Tensor:
        return aten.mish(x)

    def mish_backward(self, dy: Tensor, x: Tensor) -> Tensor:
        return aten.mish_backward(dy, x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def relu(self, x: Tensor, slope: float) -> Tensor:
        return aten.relu(x) if slope == 0 else aten.leaky_relu(x, slope)

    def relu_backward(self, dy: Tensor, x: Tensor, slope: float) -> Tensor:
        if slope == 0:
            return aten.threshold_backward(dy, x, 0)
        return aten.leaky_relu_backward(dy, x, slope, False)

    def prelu(self, x: Tensor, slope: Tensor) -> Tensor:
        return aten._prelu_kernel(x, slope)

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        if axis == 1 and x.ndim == 4 and x.stride(1) == 1 and x.shape[1] > 1:  # ATen would copy the images both ways
            return aten._softmax(x.permute(0, 2, 3, 1), 3, False).permute(0, 3, 1, 2)
        return aten._softmax(x, axis, False)

    def softmax_backward(self, dy: Tensor, y: Tensor, axis: int) -> Tensor:
        return aten._softmax_backward_data(dy, y, axis, y.dtype)

    def pick(self, x: Tensor, index: Tensor, axis: int) -> Tensor:
        return x.gather(axis, index)

    def scatter(self, x: Tensor, index: Tensor, count: int, axis: int) -> Tensor:
        shape = list(x.shape)
        shape[axis] = count
        return self.zeros(shape).scatter_(axis, index, x)

    def one_hot(self, index: Tensor, classes: int, axis: int) -> Tensor:
        shape = list(index.shape)
        shape[axis] = classes
        return self.zeros(shape).scatter_(axis, index, 1.0)

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._product(x, weight, bias)

    def inner_product_backward(self, dy: Tensor, x: Tensor, weight: Tensor, need: Need) -> Gradients[Tensor]:
        return (
            self._product(dy, weight.T) if need[0] else None,
            self._product(dy.T, x.T) if need[1] else None,
            dy.sum(0) if need[2] else None,
        )

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiply x by the transpose of weight and add bias."""
        # Large products are up to twice as fast in oneDNN as in MKL. It misreads the strides of axes of one element.
        sizes = *x.shape, weight.shape[0]
        if self.onednn and self.tracer is None and min(sizes) > 1 and prod(sizes) >= _LARGE_PRODUCT:
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return torch.nn.functional.linear(x, weight, bias)

    # -- convolution -------------------------------------------------------------------------------------------------

    def convolution(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, pad: Ints, dilation: Ints, group: int
    ) -> Tensor:
        if len(stride) not in (1, 2, 3):
            return super().convolution(x, weight, bias, stride, pad, dilation, group)
        windows = stride, pad, dilation, group
        if self.native and depthwise.serves(x.shape, weight.shape, group):
            return depthwise.convolution(x, weight, bias, stride, pad, dilation)
        if self.native and (tile := winograd.best_tile(x.shape, weight.shape, *windows)):
            if self.tracer is None or not self.tracer.constant:
                return winograd.convolution_once(x, weight, bias, tile, pad, group)
            filters = winograd.filters(weight, tile, group)
            return winograd.convolution(x, filters, bias, tile, weight.shape[2], weight.shape[0], pad, group)
        if self.native and winograd_rows.serves(x.shape, weight.shape, stride, dilation, group):
            return winograd_rows.convolution(x, weight, bias, stride, pad)
        if self.onednn and onednn.misses_results(x.shape, weight.shape, stride, pad, dilation):
            return super().convolution(x, weight, bias, stride, pad, dilation, group)
        return aten.convolution(*_channels_last_all(x, weight), bias, *_geometry(stride, pad, dilation, False), group)

    def convolution_backward(
        self,
        dy: Tensor,
        x: Tensor,
        weight: Tensor,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: Need,
    ) -> Gradients[Tensor]:
        if len(stride) not in (1, 2, 3):
            return super().convolution_backward(dy, x, weight, stride, pad, dilation, group, need)
        windows = stride, pad, dilation, group
        dx = dw = db = None
        if self.native and any(need[:2]) and depthwise.serves(x.shape, weight.shape, group):
            dx, dw = depthwise.gradients(dy, x, weight, stride, pad, dilation, need[0], need[1])
            return _wanted((dx, dw, dy.sum((0, 2, 3)) if need[2] else None), need)
        if self.native and need[0] and (tile := winograd.best_tile_back(dy.shape, weight.shape, *windows)):
            dx = winograd.image_gradient(dy, weight, tile, pad, group)
        if self.native and need[1]:
            if tile := winograd.best_tile(x.shape, weight.shape, *windows, gradient=True):
                dw = winograd.weight_gradient(dy, x, tile, weight.shape[2], pad, group)
            elif winograd_rows.serves(x.shape, weight.shape, stride, dilation, group):
                dw = winograd_rows.weight_gradient(dy, x, weight.shape[2:], stride, pad)
            elif self.onednn and onednn.misses_weights(x.shape, weight.shape[2:], stride, pad, dilation):
                _, dw, _ = super().convolution_backward(dy, x, weight, *windows, (False, True, False))
            db = None if dw is None or not need[2] else dy.sum((0, *range(2, dy.ndim)))
        rest = need[0] and dx is None, need[1] and dw is None, need[2] and db is None
        if not any(rest):
            return dx, dw, db
        arrays, geometry = _channels_last_all(dy, x, weight), _geometry(stride, pad, dilation, False)
        gradients = aten.convolution_backward(*arrays, [weight.shape[0]], *geometry, group, list(rest))
        others = _wanted(gradients, rest)
        dx, dw, db = (other if mine is None else mine for mine, other in zip((dx, dw, db), others, strict=True))
        return dx, dw, db

    def deconvolution(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, pad: Ints, dilation: Ints, group: int
    ) -> Tensor:
        if len(stride) not in (1, 2, 3):
            return super().deconvolution(x, weight, bias, stride, pad, dilation, group)
        return aten.convolution(*_channels_last_all(x, weight), bias, *_geometry(stride, pad, dilation, True), group)

    def deconvolution_backward(
        self,
        dy: Tensor,
        x: Tensor,
        weight: Tensor,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: Need,
    ) -> Gradients[Tensor]:
        if len(stride) not in (1, 2, 3):
            return super().deconvolution_backward(dy, x, weight, stride, pad, dilation, group, need)
        # The gradients are a convolution of dy.
        if self.onednn and (
            onednn.misses_results(dy.shape, weight.shape, stride, pad, dilation)
            or onednn.misses_weights(dy.shape, weight.shape[2:], stride, pad, dilation)
        ):
            return super().deconvolution_backward(dy, x, weight, stride, pad, dilation, group, need)
        arrays, geometry = _channels_last_all(dy, x, weight), _geometry(stride, pad, dilation, True)
        maps = weight.shape[1] * group
        return _wanted(aten.convolution_backward(*arrays, [maps], *geometry, group, list(need)), need)

    # -- pooling -----------------------------------------------------------------------------------------------------

    def max_pool(
        self, x: Tensor, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> tuple[Tensor, Choice]:
        """Pool as the base does; a NaN spreads. The choice is the base's or, if torch pools, torch's index."""
        if self.native and _usual(kernel, dilation) and max_pooling.serves(x.shape):
            return max_pooling.max_pool(x, kernel, stride, pad, out)
        rounds_up = _rounds_up(x.shape, kernel, stride, pad, out, dilation)
        if rounds_up is None:
            return super().max_pool(x, kernel, stride, pad, out, dilation)
        return aten.max_pool2d_with_indices(channels_last(x), list(kernel), list(stride), list(pad), [1, 1], rounds_up)

    def max_pool_index(
        self, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> Tensor:
        if choice.dtype == torch.int64:
            return choice.to(self.dtype)
        return super().max_pool_index(choice, x_shape, kernel, stride, pad, dilation)

    def max_pool_backward(
        self,
        dy: Tensor,
        choice: Choice,
        x_shape: Ints,
        kernel: Ints,
        stride: Ints,
        pad: Ints,
        dilation: Ints | None = None,
    ) -> Tensor:
        if choice.dtype != torch.int64:
            if self.native and _usual(kernel, dilation) and max_pooling.serves(x_shape):
                return max_pooling.max_pool_backward(dy, choice, kernel, stride, pad, x_shape[2:])
            return super().max_pool_backward(dy, choice, x_shape, kernel, stride, pad, dilation)
        rounds_up = _rounds_up(x_shape, kernel, stride, pad, dy.shape[2:])
        return aten.max_pool2d_with_indices_backward(
            *(channels_last(dy), self._like_input(x_shape)),
            *(list(kernel), list(stride), list(pad), [1, 1], rounds_up, channels_last(choice)),
        )

    def ave_pool(
        self, x: Tensor, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> Tensor:
        rounds_up = _rounds_up(x.shape, kernel, stride, pad, out, dilation)
        if rounds_up is None:
            return super().ave_pool(x, kernel, stride, pad, out, dilation)
        return aten.avg_pool2d(channels_last(x), list(kernel), list(stride), list(pad), rounds_up, True, None)

    def ave_pool_backward(
        self, dy: Tensor, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> Tensor:
        rounds_up = _rounds_up(x_shape, kernel, stride, pad, dy.shape[2:], dilation)
        if rounds_up is None:
            return super().ave_pool_backward(dy, x_shape, kernel, stride, pad, dilation)
        return aten.avg_pool2d_backward(
            *(channels_last(dy), self._like_input(x_shape)),
            *(list(kernel), list(stride), list(pad), rounds_up, True, None),
        )

    def _like_input(self, shape: Ints) -> Tensor:
        """Return a stand-in for a pooling's input, of which torch's gradient needs only shape and memory order."""
        return torch.empty(tuple(shape), dtype=self.dtype, device=self.device, memory_format=torch.channels_last)

    # -- normalisation -----------------------------------------------------------------------------------------------

    # -- images in other sizes ---------------------------------------------------------------------------------------

    def interpolate(self, x: Tensor, out: Ints) -> Tensor:
        if 0 in x.shape:
            return super().interpolate(x, out)
        return aten.upsample_bilinear2d(channels_last(x), list(out), True)

    def interpolate_backward(self, dy: Tensor, size: Ints) -> Tensor:
        if 0 in dy.shape:
            return super().interpolate_backward(dy, size)
        shape = [*dy.shape[:2], *size]
        return aten.upsample_bilinear2d_backward(channels_last(dy), list(dy.shape[2:]), shape, True)

    def lrn_across(self, x: Tensor, size: int, alpha: float, beta: float, k: float) -> tuple[Tensor, Tensor]:
        x = channels_last(x)
        scale = self._channel_window_sum(x * x, size).mul_(alpha / size).add_(k)
        return x / _power(scale, beta), scale

    def lrn_across_backward(
        self, dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, size: int, alpha: float, beta: float
    ) -> Tensor:
        around = self._channel_window_sum((dy * y).div_(scale), size)
        return around.mul_(x).mul_(-2.0 * alpha * beta / size).addcdiv_(dy, _power(scale, beta))

    def _channel_window_sum(self, x: Tensor, size: int) -> Tensor:
        # In memory, the channels of a pixel are a row: this sums a few shifted rows in one pass.
        rows = channels_last(x).movedim(1, -1)
        half = (size - 1) // 2
        padded = torch.nn.functional.pad(rows, (half, size - 1 - half))
        return padded.unfold(-1, x.shape[1], 1).sum(-2).movedim(-1, 1)

    # -- in place ----------------------------------------------------------------------------------------------------

    def momentum_step(
        self,
        w: Tensor,
        g: Tensor,
        v: Tensor,
        rate: Tensor | float,
        momentum: Tensor | float,
        decay: Tensor | float,
    ) -> None:
        if isinstance(rate, torch.Tensor) or isinstance(momentum, torch.Tensor) or isinstance(decay, torch.Tensor):
            super().momentum_step(w, g, v, rate, momentum, decay)
            return
        # Torch's kernel walks through memory and ignores strides; without momentum it keeps no history.
        if not (momentum and w.is_contiguous() and v.is_contiguous()):
            super().momentum_step(w, g, v, rate, momentum, decay)
            return
        # One pass over memory, while the base needs one for each operation. Torch's rule,
        # v = momentum v + (1 - dampening) (g + decay w), w -= lr v, is Caffe's with the rate for 1 - dampening.
        torch._fused_sgd_(
            [w],
            [g.contiguous()],
            [v],
            weight_decay=decay,
            momentum=momentum,
            lr=1.0,
            dampening=1.0 - rate,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
        # Torch does not count this kernel as a write, but those who keep values derived from w must notice it.
        torch.autograd.graph.increment_version(w)


def _channels_last_all(*arrays: Tensor) -> list[Tensor]:
    return [channels_last(x) for x in arrays]


def _geometry(stride: Ints, pad: Ints, dilation: Ints, transposed: bool) -> tuple[Any, ...]:
    """Return the arguments of torch's convolution for its windows; the last is the output's size beyond the least."""
    return list(stride), list(pad), list(dilation), transposed, [0] * len(stride)


def _wanted(gradients: Sequence[Tensor | None], need: Need) -> Gradients[Tensor]:
    """Replace gradients that are not needed by None: some of torch's kernels return more than they are asked for."""
    dx, dw, db = (gradient if needed else None for gradient, needed in zip(gradients, need, strict=True))
    return dx, dw, db


def _usual(kernel: Ints, dilation: Ints | None) -> bool:
    """Return whether these are windows over images, without gaps."""
    return len(kernel) == 2 and (dilation is None or set(dilation) == {1})


def _rounds_up(
    x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
) -> bool | None:
    """Return the ceil_mode for which torch's pooling has these windows; None if there is none.

    When rounding up, torch drops a last window that would start past the image. Its padding is at most half of the
    kernel, and no image may be empty.
    """
    if not _usual(kernel, dilation) or any(2 * p > k for k, p in zip(kernel, pad, strict=True)) or 0 in x_shape:
        return None
    for ceil in (False, True):
        if tuple(out) == tuple(pooled(*axis, ceil) for axis in zip(x_shape[2:], kernel, stride, pad, strict=True)):
            return ceil
    return None


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return x**exponent; for LRN's usual 0.75, two square roots are far cheaper than a power."""
    if exponent == 0.75:
        root = x.sqrt()
        return root.mul_(root.sqrt())
    return x**exponent
