"""The NumPy engine: the default, the reference, and always there.

In memory, images are (C, H, W, N), with the batch innermost, although layers see (N, C, H, W). Every window of a kernel
is then a few long contiguous runs, and a product ``weight @ columns`` has the order that the next layer wants.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod

import numpy as np

from ..array import Gradients, Need
from ..base import Choice, Ops
from ..cores import usable_cores
from ..memory import recycle_freed_memory
from ..windows import Ints, extent
from . import convolution as conv
from .grid import Grid

# Work on this many bytes at a time, so that the results of one step are still in a core's cache for the next one.
_CACHED = 1 << 19


class NumpyOps(Ops[np.ndarray]):
    name = "numpy"
    array_type = np.ndarray
    image_order = (1, 2, 3, 0)

    def __init__(self, dtype: str = "float32") -> None:
        recycle_freed_memory()
        super().__init__(np, dtype)

    def describe(self) -> str:
        return f"{self.name}, on {threads()} threads"

    def quiet(self) -> AbstractContextManager[object]:
        return np.errstate(all="ignore")

    def row_major(self, x: np.ndarray) -> np.ndarray:
        return x if x.flags.c_contiguous else x.copy("C")

    def host_view(self, x: np.ndarray) -> np.ndarray:
        return x

    # NumPy 1.26 lacks the array API's names for these.

    def copy(self, x: np.ndarray) -> np.ndarray:
        return np.copy(x)

    def concat(self, arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
        return np.concatenate(list(arrays), axis)

    def transpose(self, x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
        return np.transpose(x, axes)

    def argsort(self, x: np.ndarray, axis: int) -> np.ndarray:
        return np.argsort(x, axis, kind="stable")

    def sum_rows(self, rows: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
        total = np.zeros((count, *rows.shape[1:]), rows.dtype)
        np.add.at(total, index, rows)
        return total

    # -- neurons -----------------------------------------------------------------------------------------------------

    def clamp(self, x: np.ndarray, least: float, most: float) -> np.ndarray:
        return np.clip(x, least, most, out=np.empty_like(x))

    def relu(self, x: np.ndarray, slope: float) -> np.ndarray:
        # With ``out``, a 0-d array stays an array.
        return np.maximum(x, 0, out=np.empty_like(x)) if slope == 0 else super().relu(x, slope)

    def relu_backward(self, dy: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
        return np.multiply(dy, x > 0, out=np.empty_like(x)) if slope == 0 else super().relu_backward(dy, x, slope)

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        y = x @ weight.T
        if bias is not None:
            y += bias
        return y

    def inner_product_backward(
        self, dy: np.ndarray, x: np.ndarray, weight: np.ndarray, need: Need
    ) -> Gradients[np.ndarray]:
        dx = dw = db = None
        if need[0]:
            # In the memory order of x, so that the gradient for the layer below is laid out like its result.
            dx = dy @ weight if x.flags.c_contiguous else (weight.T @ dy.T).T
        if need[1]:
            dw = dy.T @ x
        if need[2]:
            db = dy.sum(0)
        return dx, dw, db

    # -- convolution -------------------------------------------------------------------------------------------------

    def convolution(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
    ) -> np.ndarray:
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
        dy: np.ndarray,
        x: np.ndarray,
        weight: np.ndarray,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: Need,
    ) -> Gradients[np.ndarray]:
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

    def max_pool(
        self, x: np.ndarray, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> tuple[np.ndarray, Choice]:
        """Pool as the base does; a NaN spreads. The choice is found on request only: a TEST net never needs it."""
        grid = Grid.of_pooling(x.shape[2:], kernel, stride, pad, out, dilation)
        x = _batch_last(x)
        y = _over_windows(np.maximum, -np.inf, x, grid)
        for nothing in grid.empty():
            y[nothing] = 0
        return _batch_first(y), partial(_first_largest, x, y, grid)

    def max_pool_index(
        self, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> np.ndarray:
        return super().max_pool_index(choice() if callable(choice) else choice, x_shape, kernel, stride, pad, dilation)

    def max_pool_backward(
        self,
        dy: np.ndarray,
        choice: Choice,
        x_shape: Ints,
        kernel: Ints,
        stride: Ints,
        pad: Ints,
        dilation: Ints | None = None,
    ) -> np.ndarray:
        grid = Grid.of_pooling(x_shape[2:], kernel, stride, pad, dy.shape[2:], dilation)
        choice = _batch_last(choice() if callable(choice) else choice)
        dy = _batch_last(dy)
        dx = np.zeros((dy.shape[0], *grid.size, dy.shape[-1]), dy.dtype)
        overlap = any(extent(k, d) > s for k, d, s in zip(kernel, grid.dilation, stride, strict=True))
        for block in _channel_blocks(dx):
            dx_block, dy_block, choice_block = dx[block], dy[block], choice[block]
            for tap, (windows, elements) in enumerate(grid.taps()):
                chosen = (choice_block[windows] == tap).astype(dy.dtype)
                if overlap:
                    chosen *= dy_block[windows]
                    dx_block[elements] += chosen
                else:
                    np.multiply(chosen, dy_block[windows], out=dx_block[elements])
        return _batch_first(dx)

    def ave_pool(
        self, x: np.ndarray, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> np.ndarray:
        grid = Grid.of_pooling(x.shape[2:], kernel, stride, pad, out, dilation)
        y = _over_windows(np.add, 0, _batch_last(x), grid)
        y /= self._window_sizes(x.shape[2:], kernel, stride, pad, out, dilation)[..., None]
        return _batch_first(y)

    def ave_pool_backward(
        self, dy: np.ndarray, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> np.ndarray:
        grid = Grid.of_pooling(x_shape[2:], kernel, stride, pad, dy.shape[2:], dilation)
        area = self._window_sizes(x_shape[2:], kernel, stride, pad, dy.shape[2:], dilation)[..., None]
        dy = _batch_last(dy)
        dx = np.empty((dy.shape[0], *grid.size, dy.shape[-1]), dy.dtype)
        for block in _channel_blocks(dx):
            dx[block] = _spread(dy[block] / area, grid)
        return _batch_first(dx)

    # -- normalisation -----------------------------------------------------------------------------------------------

    def lrn_across(
        self, x: np.ndarray, size: int, alpha: float, beta: float, k: float
    ) -> tuple[np.ndarray, np.ndarray]:
        x = _batch_last(x)
        y, scale = np.empty_like(x), np.empty_like(x)
        for part in _position_blocks(x):
            scale[part] = _channel_window_sum(np.square(x[part]), size)
            scale[part] *= alpha / size
            scale[part] += k
            np.multiply(x[part], _inverse_power(scale[part], beta), out=y[part])
        return _batch_first(y), _batch_first(scale)

    def lrn_across_backward(
        self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float
    ) -> np.ndarray:
        dy, x, y, scale = _batch_last(dy), _batch_last(x), _batch_last(y), _batch_last(scale)
        dx = np.empty_like(x)
        for part in _position_blocks(x):
            around = _channel_window_sum(dy[part] * y[part] / scale[part], size)
            around *= x[part]
            around *= -2.0 * alpha * beta / size
            around += dy[part] * _inverse_power(scale[part], beta)
            dx[part] = around
        return _batch_first(dx)


def threads() -> int:
    """Return how many threads matrix products may use, as NumPy's libraries read it from the environment."""
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdecimal():
            return int(os.environ[variable])
    return usable_cores()


# -- the memory order ------------------------------------------------------------------------------------------------


def _batch_last(x: np.ndarray) -> np.ndarray:
    """Return (N, C, ...) as a contiguous (C, ..., N): a view of this engine's own arrays, a copy of others."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def _batch_first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 0)


def _channel_blocks(x: np.ndarray) -> Iterator[slice]:
    """Yield the channels of a batch-last array, as many at a time as fit in the cache."""
    step = max(1, _CACHED // max(1, x[:1].nbytes))
    return (slice(first, first + step) for first in range(0, x.shape[0], step))


def _position_blocks(x: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Yield all channels of a batch-last array for as many rows at a time as fit in the cache."""
    step = max(1, _CACHED // max(1, x[:, :1].nbytes))
    return ((slice(None), slice(first, first + step)) for first in range(0, x.shape[1], step))


def _groups(group: int, inputs: np.ndarray, outputs: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Yield the input and output channels of each group of a convolution."""
    a, b = len(inputs) // group, len(outputs) // group
    return ((slice(g * a, (g + 1) * a), slice(g * b, (g + 1) * b)) for g in range(group))


# -- pooling ---------------------------------------------------------------------------------------------------------


def _over_windows(combine: np.ufunc, start: float, x: np.ndarray, grid: Grid) -> np.ndarray:
    """Combine each window's elements, one axis after the other: k + k operations instead of k * k."""
    y = np.empty((x.shape[0], *grid.out, x.shape[-1]), x.dtype)
    for block in _channel_blocks(x):
        part = x[block]
        for axis, out in enumerate(grid.out, 1):
            combined = np.full((*part.shape[:axis], out, *part.shape[axis + 1 :]), start, x.dtype)
            for windows, elements in grid.along(axis - 1):
                seen = combined[windows]
                combine(seen, part[elements], out=seen)
            part = combined
        y[block] = part
    return y


def _spread(dy: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the gradient of windows' sums, one axis after the other."""
    for axis, size in enumerate(grid.size, 1):
        dx = np.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
        for windows, elements in grid.along(axis - 1):
            dx[elements] += dy[windows]
        dy = dx
    return dy


def _first_largest(x: np.ndarray, y: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the position in each window of the first element equal to its maximum; without one, their number."""
    count = prod(grid.kernel)
    # The smallest type that fits: bytes are compared and combined several times as fast as indices.
    rank = np.zeros(y.shape, np.min_scalar_type(count))
    for block in _channel_blocks(x):
        x_block, y_block, rank_block = x[block], y[block], rank[block]
        for tap, (windows, elements) in enumerate(grid.taps()):
            best = rank_block[windows]
            equal = (x_block[elements] == y_block[windows]).astype(rank.dtype, copy=False)
            equal *= rank.dtype.type(count - tap)
            np.maximum(best, equal, out=best)
    return _batch_first(np.subtract(rank.dtype.type(count), rank, out=rank))


# -- normalisation ---------------------------------------------------------------------------------------------------


def _channel_window_sum(x: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of the ``size`` channels around each channel of a batch-last array."""
    total = x.copy()
    before = (size - 1) // 2
    for shift in range(1, size - before):
        total[:-shift] += x[shift:]
    for shift in range(1, before + 1):
        total[shift:] += x[:-shift]
    return total


def _inverse_power(x: np.ndarray, exponent: float) -> np.ndarray:
    """Return x**-exponent; square roots, which suffice for LRN's usual 0.75, are far cheaper than a power."""
    if exponent == 0.5:
        return 1 / np.sqrt(x)
    if exponent == 0.75:
        root = np.sqrt(x)
        root *= np.sqrt(root)
        return np.reciprocal(root, out=root)
    return x**-exponent
