"""The torch engine: ATen's forward and backward operators called directly, without autograd.

Images lie in memory as (N, H, W, C), torch's channels_last, whatever a layer is shown: convolution is fastest there,
and pointwise convolutions are plain products. Where a kernel would mean more in the other order, its method says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from .base import Array, Ints, Ops
from .memory import recycle_freed_memory

aten = torch.ops.aten


class TorchOps(Ops):
    """The arithmetic on tensors of one device."""

    name = "torch"
    array_type = torch.Tensor

    def __init__(self, dtype: str = "float32", device: str = "cpu") -> None:
        recycle_freed_memory()
        super().__init__(torch, dtype)
        self.device = torch.device(device)

    def describe(self) -> str:
        if self.device.type == "cuda":
            return f"{self.name}, on {self.device} ({torch.cuda.get_device_name(self.device)})"
        return f"{self.name}, on {torch.get_num_threads()} threads of the CPU"

    def quiet(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    # -- arrays ------------------------------------------------------------------------------------------------------

    def zeros(self, shape: Ints) -> Array:
        return torch.zeros(tuple(shape), dtype=self.dtype, device=self.device)

    def full(self, shape: Ints, value: float) -> Array:
        return torch.full(tuple(shape), value, dtype=self.dtype, device=self.device)

    def scalar(self, value: Any) -> Array:
        return torch.as_tensor(value, dtype=self.dtype, device=self.device)

    def asarray(self, values: np.ndarray) -> Array:
        if isinstance(values, np.ndarray) and (not values.flags.writeable or min(values.strides, default=0) < 0):
            values = values.copy()
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def copy(self, x: Array) -> Array:
        return x.clone()

    def host_view(self, x: Array) -> np.ndarray:
        return x.numpy()

    def indices(self, x: Array) -> Array:
        return x.to(torch.int64)

    def astype(self, x: Array) -> Array:
        return x.to(self.dtype)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        return torch.cat(list(arrays), axis)

    def transpose(self, x: Array, axes: Ints) -> Array:
        return x.permute(tuple(axes))

    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        return x.amax(axis, keepdim=keepdims)

    def sum(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        return x.sum() if axis is None else x.sum(axis, keepdim=keepdims)

    def number(self, x: Array) -> float:
        return x.item()

    # -- neurons and classes -----------------------------------------------------------------------------------------

    def at_least(self, x: Array, bound: float) -> Array:
        return x.clamp_min(bound)

    def sigmoid(self, x: Array) -> Array:
        return x.sigmoid()

    def relu(self, x: Array, slope: float) -> Array:
        return aten.relu(x) if slope == 0 else aten.leaky_relu(x, slope)

    def relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        if slope == 0:
            return aten.threshold_backward(dy, x, 0)
        return aten.leaky_relu_backward(dy, x, slope, False)

    def softmax(self, x: Array, axis: int) -> Array:
        return aten._softmax(x, axis, False)

    def softmax_backward(self, dy: Array, y: Array, axis: int) -> Array:
        return aten._softmax_backward_data(dy, y, axis, y.dtype)

    def pick(self, x: Array, index: Array, axis: int) -> Array:
        return x.gather(axis, index)

    def one_hot(self, index: Array, classes: int, axis: int) -> Array:
        shape = list(index.shape)
        shape[axis] = classes
        return self.zeros(shape).scatter_(axis, index, 1.0)

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: Array, weight: Array, bias: Array | None) -> Array:
        return torch.nn.functional.linear(x, weight, bias)

    # -- convolution -------------------------------------------------------------------------------------------------

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, stride: Ints, pad: Ints, dilation: Ints, group: int
    ) -> Array:
        if not stride:
            return super().convolution(x, weight, bias, stride, pad, dilation, group)
        none = [0] * len(stride)
        return aten.convolution(
            _channels_last(x), _channels_last(weight), bias, list(stride), list(pad), list(dilation), False, none, group
        )

    def convolution_backward(
        self,
        dy: Array,
        x: Array,
        weight: Array,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: tuple[bool, bool, bool],
    ) -> tuple[Array, Array, Array]:
        if not stride:
            return super().convolution_backward(dy, x, weight, stride, pad, dilation, group, need)
        return aten.convolution_backward(
            _channels_last(dy),
            _channels_last(x),
            _channels_last(weight),
            [weight.shape[0]],
            list(stride),
            list(pad),
            list(dilation),
            False,
            [0] * len(stride),
            group,
            list(need),
        )

    def deconvolution(
        self, x: Array, weight: Array, bias: Array | None, stride: Ints, pad: Ints, dilation: Ints, group: int
    ) -> Array:
        if not stride:
            return super().deconvolution(x, weight, bias, stride, pad, dilation, group)
        none = [0] * len(stride)
        return aten.convolution(
            _channels_last(x), _channels_last(weight), bias, list(stride), list(pad), list(dilation), True, none, group
        )

    def deconvolution_backward(
        self,
        dy: Array,
        x: Array,
        weight: Array,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: tuple[bool, bool, bool],
    ) -> tuple[Array, Array, Array]:
        if not stride:
            return super().deconvolution_backward(dy, x, weight, stride, pad, dilation, group, need)
        return aten.convolution_backward(
            _channels_last(dy),
            _channels_last(x),
            _channels_last(weight),
            [weight.shape[1] * group],
            list(stride),
            list(pad),
            list(dilation),
            True,
            [0] * len(stride),
            group,
            list(need),
        )

    # -- pooling -----------------------------------------------------------------------------------------------------

    def max_pool(self, x: Array, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> tuple[Array, Any]:
        if not _pools_like_torch(x.shape[2:], kernel, stride, pad, out):
            return super().max_pool(x, kernel, stride, pad, out)
        ceil = _rounds_up(x.shape[2:], kernel, stride, pad, out)
        y, index = aten.max_pool2d_with_indices(_channels_last(x), list(kernel), list(stride), list(pad), [1, 1], ceil)
        return y, index

    def max_pool_index(self, choice: Any, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        if choice.dtype == torch.int64:
            return choice.to(self.dtype)
        return super().max_pool_index(choice, x_shape, kernel, stride, pad)

    def max_pool_backward(self, dy: Array, choice: Any, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        if choice.dtype != torch.int64:
            return super().max_pool_backward(dy, choice, x_shape, kernel, stride, pad)
        x = dy.new_empty(()).expand(tuple(x_shape))
        ceil = _rounds_up(x_shape[2:], kernel, stride, pad, dy.shape[2:])
        return aten.max_pool2d_with_indices_backward(
            _channels_last(dy), x, list(kernel), list(stride), list(pad), [1, 1], ceil, choice
        )

    def ave_pool(self, x: Array, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> Array:
        if not _pools_like_torch(x.shape[2:], kernel, stride, pad, out):
            return super().ave_pool(x, kernel, stride, pad, out)
        ceil = _rounds_up(x.shape[2:], kernel, stride, pad, out)
        return aten.avg_pool2d(_channels_last(x), list(kernel), list(stride), list(pad), ceil, True, None)

    def ave_pool_backward(self, dy: Array, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        if not _pools_like_torch(x_shape[2:], kernel, stride, pad, dy.shape[2:]):
            return super().ave_pool_backward(dy, x_shape, kernel, stride, pad)
        x = torch.empty(tuple(x_shape), dtype=dy.dtype, device=dy.device, memory_format=torch.channels_last)
        ceil = _rounds_up(x_shape[2:], kernel, stride, pad, dy.shape[2:])
        return aten.avg_pool2d_backward(_channels_last(dy), x, list(kernel), list(stride), list(pad), ceil, True, None)

    # -- normalisation -----------------------------------------------------------------------------------------------

    def _channel_window_sum(self, x: Array, size: int) -> Array:
        """As a product with a band of ones: in channels_last the channels of a pixel are one row."""
        channels = x.shape[1]
        place = torch.arange(channels, device=x.device)
        ahead = place[None, :] - place[:, None]  # how far an input lies behind its output
        half = (size - 1) // 2
        band = ((ahead >= -half) & (ahead <= size - 1 - half)).to(x.dtype)
        return (torch.movedim(x, 1, -1) @ band.T).movedim(-1, 1)

    def lrn_across(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        return super().lrn_across(_channels_last(x), size, alpha, beta, k)


def _channels_last(x: Array) -> Array:
    """The same image with the channels innermost; not copied if they are already."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def _rounds_up(size: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> bool:
    return any(n > (i + 2 * p - k) // s + 1 for i, k, s, p, n in zip(size, kernel, stride, pad, out, strict=True))


def _pools_like_torch(size: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> bool:
    """Whether torch's pooling makes the same windows: it has no window that starts past the image, nor wide padding."""
    return all(2 * p <= k and (n - 1) * s < i + p for i, k, s, p, n in zip(size, kernel, stride, pad, out, strict=True))
