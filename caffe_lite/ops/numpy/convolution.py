"""Convolution for the NumPy engine, on arrays with the batch innermost: (C, *spatial, N).

The image is unrolled along all spatial axes but the first. Each row of the result holds every element that a row of
windows meets with one row of the kernel. The rows under a row of windows are adjacent, so they already form a matrix:
elements are not copied once for every row of the kernel, and each product finds its operands in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from .grid import Grid

# A product with fewer columns than this spends its time on packing the weights: take all rows at once instead.
_NARROW = 200

_ALL = slice(None)


def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, grid: Grid) -> None:
    """Write into ``y`` (M, *out, N) the cross-correlation of x (C, *size, N) and weight (M, C, *kernel)."""
    grid, x, weight, y = _with_rows(grid, x, weight, y)
    columns = _unroll(x, grid)
    by_row = _weight_by_row(weight)
    taps = columns.shape[1]
    sums = y.reshape(y.shape[0], grid.out[0], -1)
    for place, kernel_rows, image_rows in grid.rows():
        part = by_row[:, kernel_rows.start * taps : kernel_rows.stop * taps]
        np.matmul(part, _as_matrix(columns[image_rows]), out=sums[:, place])
        if bias is not None:
            sums[:, place] += bias[:, None]


def data_gradient(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray, grid: Grid) -> None:
    """Write into ``dx`` (C, *size, N) the gradient of x in ``correlate``."""
    same_size = all(s == 1 for s in grid.stride) and prod(grid.size[1:]) <= prod(grid.out[1:])
    if same_size and len(dx) >= len(dy):
        # Then it is a correlation of almost the same shape, which adds up nothing outside its products.
        flipped = np.flip(weight, tuple(range(2, weight.ndim)))
        correlate(dy, flipped.swapaxes(0, 1), None, dx, grid.transposed())
    else:
        _scatter(dy, weight, dx, grid)


def weight_gradient(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, grid: Grid) -> None:
    """Write into ``dw`` (M, C, *kernel) the gradient of the weight in ``correlate``."""
    grid, x, dw, dy = _with_rows(grid, x, dw, dy)
    columns = _unroll(x, grid)
    taps = columns.shape[1]
    dy = dy.reshape(dy.shape[0], grid.out[0], -1)
    # Transposed, (kernel * C, M): BLAS is faster when the larger matrix comes first.
    total = np.zeros((grid.kernel[0] * taps, dy.shape[0]), dy.dtype)
    for place, kernel_rows, image_rows in grid.rows():
        part = total[kernel_rows.start * taps : kernel_rows.stop * taps]
        part += _as_matrix(columns[image_rows]) @ dy[:, place].T
    total = total.reshape(*grid.kernel, x.shape[0], -1)
    dw[...] = np.moveaxis(total, (-1, -2), (0, 1))


def _scatter(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray, grid: Grid) -> None:
    """Write the data gradient for any stride: add each window's columns to their places of origin."""
    grid, dx, weight, dy = _with_rows(grid, dx, weight, dy)
    by_row = _weight_by_row(weight)
    dy = dy.reshape(dy.shape[0], grid.out[0], -1)
    taps = by_row.shape[1] // grid.kernel[0]
    columns = np.zeros((grid.size[0], taps, dy.shape[-1]), dy.dtype)
    for place, kernel_rows, image_rows in grid.rows():
        part = by_row[:, kernel_rows.start * taps : kernel_rows.stop * taps]
        columns[image_rows] += (part.T @ dy[:, place]).reshape(part.shape[1] // taps, taps, dy.shape[-1])
    inner = grid.inner()
    columns = columns.reshape(grid.size[0], *grid.kernel[1:], dx.shape[0], *inner.out, dx.shape[-1])
    dx[...] = 0
    rows = dx.swapaxes(0, 1)
    for tap, (windows, elements) in zip(np.ndindex(inner.kernel), inner.taps(), strict=True):
        rows[(_ALL, *elements)] += columns[(_ALL, *tap, *windows)]


def _with_rows(
    grid: Grid, image: np.ndarray, weight: np.ndarray, windows: np.ndarray
) -> tuple[Grid, np.ndarray, np.ndarray, np.ndarray]:
    """Return grid and arrays unchanged if unrolling by rows pays.

    Otherwise they get an axis of length 1 before the others, so that a single row holds all windows.
    """
    if grid.kernel and grid.kernel[0] > 1 and grid.dilation[0] == 1 and prod(windows.shape[2:]) >= _NARROW:
        return grid, image, weight, windows
    return grid.with_unit_axis(), image[:, None], weight[:, :, None], windows[:, None]


def _unroll(x: np.ndarray, grid: Grid) -> np.ndarray:
    """Unroll each row for the windows along it: (rows, prod(kernel[1:]) * C, prod(out[1:]) * N)."""
    inner = grid.inner()
    rows = x.swapaxes(0, 1)
    if all(n == 1 for n in inner.kernel + inner.stride) and not any(inner.pad):
        return rows.reshape(x.shape[1], x.shape[0], -1)
    columns = np.empty((x.shape[1], *inner.kernel, x.shape[0], *inner.out, x.shape[-1]), x.dtype)
    for tap, (windows, elements) in zip(np.ndindex(inner.kernel), inner.taps(), strict=True):
        column = columns[(_ALL, *tap)]
        _clear_outside(column, windows)
        column[(_ALL, *windows)] = rows[(_ALL, *elements)]
    return columns.reshape(x.shape[1], prod(inner.kernel) * x.shape[0], -1)


def _clear_outside(column: np.ndarray, windows: tuple[slice, ...]) -> None:
    """Write zeros for the windows whose element lies in the padding."""
    for axis, inside in enumerate(windows[1:], 2):
        before = (_ALL,) * axis
        column[(*before, slice(0, inside.start))] = 0
        column[(*before, slice(inside.stop, None))] = 0


def _weight_by_row(weight: np.ndarray) -> np.ndarray:
    """Arrange (M, C, *kernel) as a matrix (M, kernel * C), in the order of ``_unroll``."""
    return np.ascontiguousarray(np.moveaxis(weight, 1, -1)).reshape(weight.shape[0], -1)


def _as_matrix(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(prod(rows.shape[:-1]), rows.shape[-1])


# -- one input channel per group: too little for matrix products -----------------------------------------------------

# Work on as many channels at a time as fit into a core's cache, so that a call is worth its time.
_CACHED = 1 << 18


def depthwise(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, grid: Grid) -> None:
    """Do as ``correlate`` for C groups: output channel c * r + i sees input channel c."""
    y[...] = 0 if bias is None else bias.reshape(-1, *[1] * (y.ndim - 1))
    for inputs, outputs, values in _channels(x, y, weight):
        for value, (windows, elements) in zip(values, grid.taps(), strict=True):
            y[outputs][windows] += value * x[inputs][elements]


def depthwise_data_gradient(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray, grid: Grid) -> None:
    dx[...] = 0
    for inputs, outputs, values in _channels(dx, dy, weight):
        for value, (windows, elements) in zip(values, grid.taps(), strict=True):
            dx[inputs][elements] += value * dy[outputs][windows]


def depthwise_weight_gradient(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, grid: Grid) -> None:
    taps = dw.reshape(dw.shape[0], -1)
    axes = "abcdefgh"[: dy.ndim]
    for inputs, outputs, _ in _channels(x, dy, dw):
        for tap, (windows, elements) in enumerate(grid.taps()):
            taps[outputs, tap] = np.einsum(f"{axes},{axes}->a", dy[outputs][windows], x[inputs][elements])


def _channels(inputs: np.ndarray, outputs: np.ndarray, weight: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield some input channels, one output channel of each, and the weights that lead there, tap by tap."""
    repeat = outputs.shape[0] // inputs.shape[0]
    step = max(1, _CACHED // max(1, inputs[:1].nbytes))
    for first, i in product(range(0, inputs.shape[0], step), range(repeat)):
        last = min(first + step, inputs.shape[0])
        of = slice(first * repeat + i, last * repeat, repeat)
        yield slice(first, last), of, weight[of].reshape(last - first, -1, *[1] * (inputs.ndim - 1)).swapaxes(0, 1)
