"""Small computations written as layers of BVLC's Caffe, which many operators are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from math import prod, sqrt

import numpy as np

from .graph import Shape
from .writer import CannotSay, Writer

_MOST_PIECES = 128  # that a blob is cut into


def power(w: Writer, x: str, scale: float = 1.0, shift: float = 0.0, power: float = 1.0) -> str:
    """Write (scale x + shift)^power."""
    given = {"scale": (scale, 1.0), "shift": (shift, 0.0), "power": (power, 1.0)}
    return w.add("Power", [x], power_param={name: value for name, (value, usual) in given.items() if value != usual})


def product(w: Writer, *xs: str) -> str:
    return w.add("Eltwise", xs, eltwise_param={"operation": "PROD"})


def total(w: Writer, xs: Sequence[str], coeff: Sequence[float] = ()) -> str:
    """Write the sum of blobs of one shape, each times its coefficient."""
    plain = all(one == 1 for one in coeff)
    return w.add("Eltwise", xs, eltwise_param={"operation": "SUM", "coeff": [] if plain else coeff})


def largest(w: Writer, xs: Sequence[str]) -> str:
    return w.add("Eltwise", xs, eltwise_param={"operation": "MAX"})


def at_least(w: Writer, x: str, least: float) -> str:
    if least == 0:
        return w.add("ReLU", [x])
    return power(w, w.add("ReLU", [power(w, x, shift=-least)]), shift=least)


def at_most(w: Writer, x: str, most: float) -> str:
    return power(w, w.add("ReLU", [power(w, x, -1, most)]), -1, most)


def gate(w: Writer, x: str, slope: float, shift: float) -> str:
    """Write min(max(slope x + shift, 0), 1)."""
    return at_most(w, at_least(w, power(w, x, slope, shift), 0), 1)


def normal_tail(w: Writer, z: str) -> str:
    """Write the probability that a normally distributed number exceeds z, for z >= 0, within 1e-7.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    """
    t = power(w, z, 0.3275911 / sqrt(2), 1, -1)
    sum_ = power(w, t, 1.061405429, -1.453152027)
    for coefficient in (1.421413741, -0.284496736, 0.254829592):
        sum_ = power(w, product(w, sum_, t), shift=coefficient)
    bell = w.add("Exp", [power(w, z, sqrt(0.5), power=2)], exp_param={"scale": -1})
    return power(w, product(w, sum_, t, bell), 0.5)


def reshaped(w: Writer, x: str, shape: Shape) -> str:
    """Write the same values in another shape; sizes that stay at the front are kept whatever they are."""
    old = w.shapes[x]
    if shape == old:
        return x
    if prod(shape) != prod(old):
        raise CannotSay(f"{old} does not become {shape}")
    if len(shape) > 1 and old[: len(shape) - 1] == shape[:-1] and len(old) > len(shape):
        axis = len(shape) - 1
        return w.add("Flatten", [x], shape, flatten_param={"axis": axis} if axis != 1 else {})
    kept = 0
    while kept < min(len(old), len(shape)) and old[kept] == shape[kept]:
        kept += 1
    dims = [0] * kept + list(shape[kept:])
    if not kept and shape:
        dims[0] = -1  # so that the batch may change
    return w.add("Reshape", [x], shape, reshape_param={"shape": {"dim": dims}})


def cut(w: Writer, x: str, axis: int, points: Sequence[int]) -> list[str]:
    """Write the pieces of a blob between these points of an axis, which are 0, ..., the size of the axis."""
    old = w.shapes[x]
    sizes = [end - start for start, end in pairwise(points)]
    if len(sizes) == 1:
        return [x]
    if len(sizes) > _MOST_PIECES:
        raise CannotSay(f"it cuts axis {axis} into {len(sizes)} pieces")
    shapes = [(*old[:axis], size, *old[axis + 1 :]) for size in sizes]
    equal = len(set(sizes)) == 1
    param = {"axis": axis} | ({} if equal else {"slice_point": list(points[1:-1])})
    return w.add_tops("Slice", [x], shapes, slice_param=param)


def silence(w: Writer, blobs: Sequence[str]) -> None:
    """Write that nothing reads these blobs, so that they are no outputs of the net."""
    if blobs:
        w.add_tops("Silence", blobs, [])


def joined(w: Writer, blobs: Sequence[str], axis: int) -> str:
    if len(blobs) == 1:
        return blobs[0]
    shape = list(w.shapes[blobs[0]])
    shape[axis] = sum(w.shapes[blob][axis] for blob in blobs)
    return w.add("Concat", blobs, tuple(shape), concat_param={"axis": axis} if axis != 1 else {})


def taken(w: Writer, x: str, axis: int, indices: Sequence[int]) -> str:
    """Write the slices of a blob at these indices of an axis, in their order."""
    size = w.shapes[x][axis]
    # Runs of rising indices: their distance from their place in the list is the same.
    runs = [[i for _, i in run] for _, run in groupby(enumerate(indices), lambda pair: pair[1] - pair[0])]
    points = sorted({0, size} | {run[0] for run in runs} | {run[-1] + 1 for run in runs})
    if not indices:
        raise CannotSay("its result is empty")
    pieces = dict(zip(points, cut(w, x, axis, points), strict=False))
    ends = dict(pairwise(points))
    used: list[str] = []
    for run in runs:
        start = run[0]
        while start <= run[-1]:
            used.append(pieces[start])
            start = ends[start]
    silence(w, [piece for piece in pieces.values() if piece not in used])
    return joined(w, used, axis)


def repeated(w: Writer, x: str, shape: Shape) -> str:
    """Write a blob spread over a larger shape with as many axes, along the axes where its size is 1."""
    for axis, (old, new) in enumerate(zip(w.shapes[x], shape, strict=True)):
        if old != new:
            if old != 1:
                raise CannotSay(f"{w.shapes[x]} does not spread over {shape}")
            spread = (*w.shapes[x][:axis], new, *w.shapes[x][axis + 1 :])
            x = w.add("Tile", [x], spread, tile_param={"tiles": new} | ({"axis": axis} if axis != 1 else {}))
    return x


def spanned(small: Shape, large: Shape) -> tuple[int, int] | None:
    """Return the first and last axis (exclusive) of a shape that another one has besides 1s; None if there are gaps."""
    padded = (*[1] * (len(large) - len(small)), *small)
    axes = [axis for axis, size in enumerate(padded) if size != 1]
    if not axes:
        return (0, 0)
    first, end = axes[0], axes[-1] + 1
    # A batch of 1 may become larger, so that it counts as an axis, if the small one has it, too.
    if len(small) == len(large) and first == 1 and large[0] == 1:
        first = 0
    return (first, end) if padded[first:end] == large[first:end] else None


def scaled(w: Writer, x: str, factor: str | np.ndarray | None, term: str | np.ndarray | None, axis: int) -> str:
    """Write factor x + term; both span axes of x from ``axis`` on. Each is learned (an array) or another blob."""
    if isinstance(factor, np.ndarray) and (term is None or isinstance(term, np.ndarray)):
        param = {"axis": axis, "num_axes": factor.ndim, "bias_term": term is not None}
        usual = {"axis": 1, "num_axes": 1, "bias_term": False}
        arrays = [factor] if term is None else [factor, term]
        param = {name: value for name, value in param.items() if value != usual[name]}
        return w.add("Scale", [x], blobs=arrays, scale_param=param)
    if isinstance(factor, np.ndarray):
        x = scaled(w, x, factor, None, axis)
    elif factor is not None:
        x = w.add("Scale", [x, factor], scale_param={"axis": axis} if axis != 1 else {})
    if isinstance(term, np.ndarray):
        param = {name: value for name, value in (("axis", axis), ("num_axes", term.ndim)) if value != 1}
        x = w.add("Bias", [x], blobs=[term], bias_param=param)
    elif term is not None:
        x = w.add("Bias", [x, term], bias_param={"axis": axis} if axis != 1 else {})
    return x


def mapped(w: Writer, x: str, axis: int, matrix: np.ndarray) -> str:
    """Write the product of a matrix (new, old) with every vector along an axis of a blob."""
    old = w.shapes[x]
    shape = (*old[:axis], len(matrix), *old[axis + 1 :])
    if axis == len(old) - 1 and axis > 0:
        param = {"num_output": len(matrix), "bias_term": False} | ({"axis": axis} if axis != 1 else {})
        return w.add("InnerProduct", [x], shape, [matrix], inner_product_param=param)
    columns = reshaped(w, x, (prod(old[:axis]), old[axis], prod(old[axis + 1 :]), 1))
    made = w.add(
        "Convolution",
        [columns],
        (prod(old[:axis]), len(matrix), prod(old[axis + 1 :]), 1),
        [matrix[:, :, None, None]],
        convolution_param={"num_output": len(matrix), "kernel_size": [1], "bias_term": False},
    )
    return reshaped(w, made, shape)


def standardised(w: Writer, x: str, eps: float) -> str:
    """Write (x - mean) / sqrt(variance + eps) over the last two axes of a blob (N, C, H, W).

    MVN alone would divide by sqrt(variance) + eps.
    """
    n, c, *image = w.shapes[x]
    centred = w.add("MVN", [x], mvn_param={"normalize_variance": False})
    param = {"operation": "SUMSQ", "axis": 2, "coeff": 1 / prod(image)}
    variance = w.add("Reduction", [centred], (n, c), reduction_param=param)
    return scaled(w, centred, power(w, variance, 1, eps, -0.5), None, 0)
