"""Regions of images in ONNX: rounding and dividing them, means over their bins, values between pixels.

Regions (R, 5) are cut into the numbers of their images (R, 1) and their corners (R, 2), x and y.
"""

from __future__ import annotations

import numpy as np

from ...onnx_graph import DOUBLE, FLOAT, INT64, OnnxGraph, Operand, Value
from .regions import FAR

Edges = tuple[Value, Value]  # where bins begin and end


def read(g: OnnxGraph, regions: Value) -> tuple[Value, Value, Value]:
    """Return the number of each region's image, a whole number, and its first and its last corner."""
    rows = g.reshape(regions, (regions.sizes[0], 5))
    corners = (g.Clip(g.slice(rows, [i], [i + 2], [1]), float(-FAR), float(FAR)) for i in (1, 3))
    return g.Cast(g.slice(rows, [0], [1], [1]), to=INT64), *corners


def rounded(g: OnnxGraph, x: Value) -> Value:
    """Return the nearest whole numbers, halves away from 0."""
    whole: Value = g.Mul(g.Sign(x), g.Floor(g.Add(g.Abs(x), 0.5)))
    return whole


def pair(g: OnnxGraph, x: Value, axis: int) -> Value:
    """Return one number (R, 1) of x and y (R, 2): y for axis 0, x for axis 1."""
    return g.slice(x, [1 - axis], [2 - axis], [1])


def along(g: OnnxGraph, start: Value, step: Value, axis: int, count: int, first: int = 0) -> Value:
    """Return points (R, count) along an axis, start + i step for i from ``first`` on; start and step are (R, 2)."""
    numbers = np.arange(first, first + count, dtype=np.float32)
    points: Value = g.Add(g.Mul(numbers, pair(g, step, axis)), pair(g, start, axis))
    return points


def edges(g: OnnxGraph, start: Value, step: Value, axis: int, count: int, limit: int) -> Edges:
    """Return where bins begin and end along an axis, (R, count): rounded outwards, from 0 to ``limit``."""
    begin, end = (along(g, start, step, axis, count, first) for first in (0, 1))
    return whole(g, g.Floor(begin), limit), whole(g, g.Ceil(end), limit)


def whole(g: OnnxGraph, at: Value, limit: int) -> Value:
    """Return points as whole numbers from 0 to ``limit``."""
    number: Value = g.Cast(g.Clip(at, 0.0, float(limit)), to=INT64)
    return number


def down(g: OnnxGraph, x: Operand) -> Value:
    """Shape numbers (R, P) so that they meet (R, P, Q, C) in the rows of bins."""
    return _unsqueezed(g, x, 2, 3)


def across(g: OnnxGraph, x: Operand) -> Value:
    """Shape numbers (R, Q) so that they meet (R, P, Q, C) in the columns of bins."""
    return _unsqueezed(g, x, 1, 3)


def _unsqueezed(g: OnnxGraph, x: Operand, *axes: int) -> Value:
    value: Value = g.Unsqueeze(x, list(axes))
    return value


def pixels_in_rows(g: OnnxGraph, images: Value) -> Value:
    """Return images (N, C, H, W) as rows of channels, (N H W, C)."""
    return g.reshape(g.Transpose(images, perm=[0, 2, 3, 1]), (None, images.sizes[1]))


def places(g: OnnxGraph, number: Value, y: Value, x: Value, size: tuple[int, ...]) -> Value:
    """Return which pixels of images of this height and width are at y (R, P) and x (R, Q) of each region: (R, P, Q)."""
    line = g.Mul(g.Add(g.Mul(number, size[0]), y), size[1])
    place: Value = g.Add(_unsqueezed(g, line, 2), _unsqueezed(g, x, 1))
    return place


def at_points(g: OnnxGraph, images: Value, number: Value, y: Value, x: Value) -> Value:
    """Return the values (R, C, P, Q) of images (N, C, H, W) at the points y (R, P) and x (R, Q) of regions.

    Between pixels they are linear. Past the first and the last pixels they stay what they are there, and more than half
    a pixel outside the image they are 0.
    """
    height, width = images.image
    rows = pixels_in_rows(g, images)
    (top, bottom, share_down), (left, right, share_across) = _neighbours(g, y, height), _neighbours(g, x, width)

    def between(a: Value, b: Value, share: Value) -> Value:
        mixed: Value = g.Add(g.Mul(a, g.Sub(1.0, share)), g.Mul(b, share))
        return mixed

    share = across(g, share_across)

    def between_columns(line: Value) -> Value:
        a, b = (g.Gather(rows, places(g, number, line, column, images.image), axis=0) for column in (left, right))
        return between(a, b, share)

    values = between(between_columns(top), between_columns(bottom), down(g, share_down))
    inside = g.And(down(g, _inside(g, y, height)), across(g, _inside(g, x, width)))
    points: Value = g.Transpose(g.Where(inside, values, 0.0), perm=[0, 3, 1, 2])
    return points


def _neighbours(g: OnnxGraph, at: Value, size: int) -> tuple[Value, Value, Value]:
    """Return the pixels before and behind each point along an axis, and the share of the one behind."""
    at = g.Clip(at, 0.0, float(size - 1))
    before = g.Floor(at)
    return whole(g, before, size - 1), whole(g, g.Add(before, 1.0), size - 1), g.Sub(at, before)


def _inside(g: OnnxGraph, at: Value, size: int) -> Value:
    inside: Value = g.And(g.GreaterOrEqual(at, -0.5), g.LessOrEqual(at, size - 0.5))
    return inside


def bin_means(g: OnnxGraph, images: Value, number: Value, rows: Edges, columns: Edges, side: int) -> Value:
    """Return the means (R, D, side, side) over bins of images (N, D side side, H, W), of each bin over D channels of
    its own, for rows and columns (R, side) of bins; 0 for an empty bin.

    They are differences of sums over all pixels above and to the left, which must be doubles.
    """
    size = tuple(length + 1 for length in images.image)
    sums = g.Cast(g.Pad(images, [0, 0, 1, 1, 0, 0, 0, 0]), to=DOUBLE)
    for axis in (2, 3):
        sums = g.CumSum(sums, g.constant(axis, "axis"))
    channels = (images.sizes[1] or 0) // side**2
    sums = g.reshape(sums, (images.sizes[0], channels, side**2, *size))
    sums = g.reshape(g.Transpose(sums, perm=[0, 2, 3, 4, 1]), (None, channels))
    plane, number = np.arange(side**2).reshape(side, side) * size[0] * size[1], g.Mul(number, side**2)

    def above(line: Value) -> Value:
        """Return the sums (R, side, side, D) over what is above a line, in the columns of the bins."""
        first, last = (g.Gather(sums, g.Add(places(g, number, line, edge, size), plane), axis=0) for edge in columns)
        difference: Value = g.Sub(last, first)
        return difference

    begin, end = map(above, rows)
    height, width = (g.Max(g.Sub(last, first), 0) for first, last in (rows, columns))
    area = g.Mul(down(g, height), across(g, width))
    means = g.Cast(g.Div(g.Sub(end, begin), g.Cast(g.Max(area, 1), to=DOUBLE)), to=FLOAT)
    y: Value = g.Transpose(g.Where(g.Greater(area, 0), means, 0.0), perm=[0, 3, 1, 2])
    return y
