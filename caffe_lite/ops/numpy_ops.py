"""The NumPy engine: the default, the reference, and always there.

Images lie in memory as (C, H, W, N), the batch innermost, whatever a layer is shown: every window of a kernel is then
a few long contiguous runs, and a product ``weight @ columns`` comes out in the order that the next layer wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from typing import Any

import numpy as np

from . import numpy_convolution as conv
from .base import Array, Ints, Ops
from .grid import Grid
from .memory import recycle_freed_memory

# Work on so many bytes at a time that what one step writes is still in a core's cache when the next one reads it.
_CACHED = 1 << 18


class NumpyOps(Ops):
    name = "numpy"
    array_type = np.ndarray

    def __init__(self, dtype: str = "float32") -> None:
        recycle_freed_memory()
        super().__init__(np, dtype)

    def quiet(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def host_view(self, x: Array) -> np.ndarray:
        return x

    # NumPy 1.26 lacks the array API's names for these.

    def copy(self, x: Array) -> Array:
        return np.copy(x)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        return np.concatenate(list(arrays), axis)

    def transpose(self, x: Array, axes: Sequence[int]) -> Array:
        return np.transpose(x, axes)

    # -- neurons -----------------------------------------------------------------------------------------------------

    def relu(self, x: Array, slope: float) -> Array:
        return np.maximum(x, 0) if slope == 0 else super().relu(x, slope)

    def relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        return dy * (x > 0) if slope == 0 else super().relu_backward(dy, x, slope)

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: Array, weight: Array, bias: Array | None) -> Array:
        y = x @ weight.T
        if bias is not None:
            y += bias
        return y

    def inner_product_backward(
        self, dy: Array, x: Array, weight: Array, need: tuple[bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None]:
        dx = dw = db = None
        if need[0]:
            # In the memory order of x, so that the layer below finds its gradient as it left its result.
            dx = dy @ weight if x.flags.c_contiguous else (weight.T @ dy.T).T
        if need[1]:
            dw = dy.T @ x
        if need[2]:
            db = dy.sum(0)
        return dx, dw, db

    # -- convolution -------------------------------------------------------------------------------------------------

    def convolution(
        self, x: Array, weight: Array, bias: Array | None, stride: Ints, pad: Ints, dilation: Ints, group: int
    ) -> Array:
        grid = Grid.of_convolution(x.shape[2:], weight.shape[2:], stride, pad, dilation)
        x = _batch_last(x)
        y = np.empty((weight.shape[0], *grid.out, x.shape[-1]), x.dtype)
        if 1 < group == x.shape[0]:
            conv.depthwise(x, weight, bias, y, grid)
        else:
            for inputs, outputs in _groups(group, x, y):
                conv.correlate(x[inputs], weight[outputs], None if bias is None else bias[outputs], y[outputs], grid)
        return _batch_first(y)

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
    ) -> tuple[Array | None, Array | None, Array | None]:
        grid = Grid.of_convolution(x.shape[2:], weight.shape[2:], stride, pad, dilation)
        dy = _batch_last(dy)
        dx = dw = db = None
        if need[0]:
            dx = np.empty((x.shape[1], *grid.size, x.shape[0]), dy.dtype)
            if 1 < group == x.shape[1]:
                conv.depthwise_data_gradient(dy, weight, dx, grid)
            else:
                for inputs, outputs in _groups(group, dx, dy):
                    conv.data_gradient(dy[outputs], weight[outputs], dx[inputs], grid)
            dx = _batch_first(dx)
        if need[1]:
            x = _batch_last(x)
            dw = np.empty(weight.shape, dy.dtype)
            if 1 < group == x.shape[0]:
                conv.depthwise_weight_gradient(dy, x, dw, grid)
            else:
                for inputs, outputs in _groups(group, x, dy):
                    conv.weight_gradient(dy[outputs], x[inputs], dw[outputs], grid)
        if need[2]:
            db = dy.reshape(dy.shape[0], -1).sum(1)
        return dx, dw, db

    # -- pooling -----------------------------------------------------------------------------------------------------

    def max_pool(self, x: Array, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> tuple[Array, Any]:
        """As the base does; a NaN spreads. The choice is found when someone asks: a TEST net never does."""
        grid = Grid.of_pooling(x.shape[2:], kernel, stride, pad, out)
        x = _batch_last(x)
        y = np.full((x.shape[0], *grid.out, x.shape[-1]), -np.inf, x.dtype)
        for block in _channel_blocks(x):
            for windows, elements in grid.taps():
                seen = y[block][windows]
                np.maximum(seen, x[block][elements], out=seen)
        for nothing in grid.empty():
            y[nothing] = 0
        return _batch_first(y), partial(_first_largest, x, y, grid)

    def max_pool_index(self, choice: Any, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        return super().max_pool_index(choice() if callable(choice) else choice, x_shape, kernel, stride, pad)

    def max_pool_backward(self, dy: Array, choice: Any, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        grid = Grid.of_pooling(x_shape[2:], kernel, stride, pad, dy.shape[2:])
        choice = _batch_last(choice() if callable(choice) else choice)
        dy = _batch_last(dy)
        dx = np.zeros((dy.shape[0], *grid.size, dy.shape[-1]), dy.dtype)
        for block in _channel_blocks(dx):
            for tap, (windows, elements) in enumerate(grid.taps()):
                share = (choice[block][windows] == tap).astype(dy.dtype)
                share *= dy[block][windows]
                dx[block][elements] += share
        return _batch_first(dx)

    def ave_pool(self, x: Array, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> Array:
        grid = Grid.of_pooling(x.shape[2:], kernel, stride, pad, out)
        area = self._window_sizes(x.shape[2:], kernel, stride, pad, out)[..., None]
        x = _batch_last(x)
        y = np.zeros((x.shape[0], *grid.out, x.shape[-1]), x.dtype)
        for block in _channel_blocks(x):
            for windows, elements in grid.taps():
                y[block][windows] += x[block][elements]
            y[block] /= area
        return _batch_first(y)

    def ave_pool_backward(self, dy: Array, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> Array:
        grid = Grid.of_pooling(x_shape[2:], kernel, stride, pad, dy.shape[2:])
        area = self._window_sizes(x_shape[2:], kernel, stride, pad, dy.shape[2:])[..., None]
        dy = _batch_last(dy)
        dx = np.zeros((dy.shape[0], *grid.size, dy.shape[-1]), dy.dtype)
        for block in _channel_blocks(dx):
            share = dy[block] / area
            for windows, elements in grid.taps():
                dx[block][elements] += share[windows]
        return _batch_first(dx)


# -- the memory order ------------------------------------------------------------------------------------------------


def _batch_last(x: np.ndarray) -> np.ndarray:
    """(N, C, ...) as a contiguous (C, ..., N): a view of what this engine made, a copy of what came from elsewhere."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def _batch_first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 0)


def _channel_blocks(x: np.ndarray) -> Iterator[slice]:
    """The channels of a batch-last array, as many at a time as stay in the cache."""
    step = max(1, _CACHED // max(1, x[:1].nbytes))
    return (slice(first, first + step) for first in range(0, x.shape[0], step))


def _groups(group: int, inputs: np.ndarray, outputs: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """The input and output channels of each group of a convolution."""
    a, b = len(inputs) // group, len(outputs) // group
    return ((slice(g * a, (g + 1) * a), slice(g * b, (g + 1) * b)) for g in range(group))


# -- pooling ---------------------------------------------------------------------------------------------------------


def _first_largest(x: np.ndarray, y: np.ndarray, grid: Grid) -> np.ndarray:
    """For each window the number of the first of its elements that equals its maximum; if none does, their number."""
    count = prod(grid.kernel)
    # In bytes: eight times as many fit into a vector register as of indices.
    rank = np.zeros(y.shape, np.min_scalar_type(count))
    for block in _channel_blocks(x):
        for tap, (windows, elements) in enumerate(grid.taps()):
            best = rank[block][windows]
            equal = x[block][elements] == y[block][windows]
            np.maximum(best, equal * rank.dtype.type(count - tap), out=best)
    return _batch_first(np.subtract(rank.dtype.type(count), rank, out=rank))
