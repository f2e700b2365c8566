"""Regions of images, as R-CNN's layers read and divide them, and the maxima of their bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...blobs import Blob
from ...layer import Kind, Layer
from .indices import first_wrong

_TABLE = 1 << 26  # bytes that the table of maxima may have
_CACHED = 1 << 18  # bytes of the bins that are worked on at a time
FAR = 1 << 24  # further outside no image ends


class RegionLayer(Layer):
    """Divides regions of images, and computes the same number of values from each.

    Bottoms: images (N, C, H, W); R regions (R, 5) or (R, 5, 1, 1), each the number of its image and its corners x1, y1,
    x2, y2, in pixels of the network's input. Top: (R, C, *out). Regions get no gradient.
    """

    kind = Kind.POOLING
    bottoms = (2, 2)
    not_differentiable: ClassVar[tuple[int, ...]] = (1,)

    out: tuple[int, int]
    scale: float  # the size of the images relative to what the regions' pixels are of

    def sizes(self, message: Any, *names: str) -> tuple[int, int]:
        """Return the values of two fields, height and width; raise an error unless both are positive."""
        height, width = (int(getattr(message, name)) for name in names)
        if height < 1 or width < 1:
            self.error(f"{names[0]} is {height}, {names[1]} is {width}", "give both, each at least 1")
        return height, width

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, regions = bottom[0].shape, bottom[1].shape
        if len(shape) != 4:
            self.error(f"the first bottom's shape {shape} has {len(shape)} axes", "regions need images: (N, C, H, W)")
        if 0 in shape[1:]:
            self.error(f"the first bottom's shape is {shape}", "regions need images with channels and pixels")
        if len(regions) < 2 or regions[1] != 5 or bottom[1].count != 5 * regions[0]:
            self.error(f"the regions have the shape {regions}", "give five values for each: (R, 5)")
        self.images = shape
        top[0].Reshape((regions[0], self.channels(shape[1]), *self.out))

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        if index != 1:
            return None
        count, _, height, width = self.images
        corners = np.sort(rng.random((shape[0], 2, 2)), 1) * np.array([width, height]) / self.scale
        number = rng.integers(0, count, (shape[0], 1))
        return np.concatenate([number, corners.reshape(-1, 4)], 1).reshape(shape)

    def channels(self, channels: int) -> int:
        """Return how many channels the top has."""
        return channels

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.asarray(self.image_gradient(self.ops.host_view(top[0].diff)))
        if propagate_down[1]:
            bottom[1].diff = self.ops.zeros(bottom[1].shape)

    def image_gradient(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient (N, C, H, W) of the images."""
        raise NotImplementedError

    def regions(self, bottom: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
        """Return the number (R,) of each region's image, and the corners (R, 4); raise an error if some are wrong."""
        if self.ops.tracer is not None:
            raise NotImplementedError("what it reads depends on the values of the regions")
        values = self.ops.host_view(bottom[1].data).reshape(bottom[1].shape[0], 5)
        finite = np.isfinite(values)
        if not finite.all():
            at, _ = first_wrong(finite)
            self.error(f"region {at[0]} has the value {values[at]}", "the values of a region are finite numbers")
        images, count = values[:, 0].astype(int), bottom[0].shape[0]
        good = (images >= 0) & (images < count)
        if not good.all():
            (wrong,), _ = first_wrong(good)
            numbers = f"{count} images, 0 to {count - 1}" if count else "images: there are none"
            self.error(f"the image of region {wrong} is {images[wrong]}, none of the {numbers}", "count images from 0")
        return images, values[:, 1:].clip(-FAR, FAR)


class Bins(NamedTuple):
    """B rectangles of pixels: those with top <= y < bottom and left <= x < right of an image."""

    image: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def height(self) -> np.ndarray:
        return self.bottom - self.top

    @property
    def width(self) -> np.ndarray:
        return self.right - self.left

    @property
    def empty(self) -> np.ndarray:
        return (self.height <= 0) | (self.width <= 0)


def bins_of(images: np.ndarray, rows: tuple[np.ndarray, np.ndarray], columns: tuple[np.ndarray, np.ndarray]) -> Bins:
    """Return the bins of R regions, from where their rows (R, P) and columns (R, Q) of bins begin and end."""
    top, bottom = (edge[:, :, None] for edge in rows)
    left, right = (edge[:, None, :] for edge in columns)
    return Bins(*(array.ravel() for array in np.broadcast_arrays(images[:, None, None], top, bottom, left, right)))


def divide(
    size: np.ndarray, count: int, limit: int, start: np.ndarray | None = None, offset: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each of ``count`` bins of regions of these sizes begins and ends: (R, count), from 0 to ``limit``.

    A begin is rounded down, an end up. ``start`` is where the regions start; ``offset`` is the same, in whole numbers,
    but added after rounding.
    """
    step, at = size[:, None] / size.dtype.type(count), np.arange(count + 1, dtype=size.dtype)
    begin, end = at[:-1] * step, at[1:] * step
    if start is not None:
        begin, end = begin + start[:, None], end + start[:, None]
    begin, end = np.floor(begin), np.ceil(end)
    if offset is not None:
        begin, end = begin + offset[:, None], end + offset[:, None]
    return begin.clip(0, limit).astype(int), end.clip(0, limit).astype(int)


def rounded(x: np.ndarray) -> np.ndarray:
    """Return the nearest whole numbers, as C rounds: halves away from 0."""
    return np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x)


def pixels(x: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) as (N, H, W, C), contiguous."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def maxima(x: np.ndarray, bins: Bins) -> np.ndarray:
    """Return the largest value of each channel in each bin, (B, C), of images (N, H, W, C); 0 for an empty bin.

    A table holds the maxima of all rectangles whose sides are powers of two; up to two to a side cover any bin.
    """
    n, height, width, channels = x.shape
    y = np.empty((len(bins.image), channels), x.dtype)
    y[bins.empty] = 0
    full = np.flatnonzero(~bins.empty)
    if not len(full):
        return y
    bins = Bins(*(edge[full] for edge in bins))
    down, across = (np.frexp(size)[1] - 1 for size in (bins.height, bins.width))
    levels = (int(down.max()) + 1, int(across.max()) + 1)
    first = (down * levels[1] + across) * n + bins.image
    rows, columns = (bins.top, bins.bottom - (1 << down)), (bins.left, bins.right - (1 << across))
    corners = np.stack([(first * height + row) * width + column for row in rows for column in columns])
    # Bins of as many different corners are alike: most need one or two.
    tall, wide = rows[0] != rows[1], columns[0] != columns[1]
    step = max(1, min(channels, _TABLE // (levels[0] * levels[1] * n * height * width * x.itemsize)))
    chunk = max(1, _CACHED // (step * x.itemsize))
    work = []
    patterns = ((~tall & ~wide, [0]), (~tall & wide, [0, 1]), (tall & ~wide, [0, 2]), (tall & wide, [0, 1, 2, 3]))
    for alike, needed in patterns:
        index = np.flatnonzero(alike)
        for begin in range(0, len(index), chunk):
            part = index[begin : begin + chunk]
            work.append((full[part], [corners[k, part] for k in needed]))
    for begin in range(0, channels, step):
        table = _table(x[..., begin : begin + step], *levels)
        for part, places in work:
            largest = table.take(places[0], 0)
            for place in places[1:]:
                np.maximum(largest, table.take(place, 0), out=largest)
            y[part, begin : begin + step] = largest
    return y


def _table(x: np.ndarray, down: int, across: int) -> np.ndarray:
    """Return the maxima of the 2^i x 2^j pixels from each pixel on, in rows (i, j, n, y, x), for i < down, j < across.

    What would not fit into the image is left undefined.
    """
    table = np.empty((down, across, *x.shape), x.dtype)
    table[0, 0] = x
    for i in range(down):
        rows = x.shape[1] - (1 << i) + 1
        if i:
            whole, half, shift = table[i, 0], table[i - 1, 0], 1 << (i - 1)
            np.maximum(half[:, :rows], half[:, shift : shift + rows], out=whole[:, :rows])
        for j in range(1, across):
            columns, shift = x.shape[2] - (1 << j) + 1, 1 << (j - 1)
            whole, half = table[i, j, :, :rows], table[i, j - 1, :, :rows]
            np.maximum(half[:, :, :columns], half[:, :, shift : shift + columns], out=whole[:, :, :columns])
    return table.reshape(-1, x.shape[3])


def to_largest(dy: np.ndarray, x: np.ndarray, y: np.ndarray, bins: Bins) -> np.ndarray:
    """Return the gradient of ``maxima``: dy (B, C) goes to the first pixel of its bin that has the value y.

    A NaN has no place, and hands on no gradient.
    """
    _, height, width, channels = x.shape
    rows = x.reshape(-1, channels)
    dx = np.zeros(rows.size + 1, x.dtype)  # and one for what has no place
    area = np.where(bins.empty, 0, bins.height * bins.width)
    order = np.argsort(-area, kind="stable")
    chunk = max(1, _CACHED // max(1, channels * x.itemsize))
    for begin in range(0, np.count_nonzero(area), chunk):
        part = order[begin : begin + chunk]
        largest, size, across = y[part], area[part], bins.width[part]
        corner = (bins.image[part] * height + bins.top[part]) * width + bins.left[part]
        place = np.full(largest.shape, -1)
        for pixel in reversed(range(size[0])):
            there = np.searchsorted(-size, -pixel)  # bins of more pixels
            row = corner[:there] + pixel // across[:there] * width + pixel % across[:there]
            np.copyto(place[:there], row[:, None], where=rows[row] == largest[:there])
        place *= channels
        place += np.arange(channels)
        place[place < 0] = rows.size
        np.add.at(dx, place.ravel(), dy[part].ravel())
    return dx[:-1].reshape(x.shape)


def group_means(x: np.ndarray, bins: Bins, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the means (B, C / groups) of each bin over the channels c of its group, c % groups; 0 for an empty bin.

    They are differences of sums over all pixels above and to the left; ``x`` is (N, C, H, W).
    """
    n, channels, height, width = x.shape
    each = channels // groups
    sums = np.empty((n, height + 1, width + 1, groups, each))
    sums[:, 0] = sums[:, :, 0] = 0
    sums[:, 1:, 1:] = x.reshape(n, each, groups, height, width).transpose(0, 3, 4, 2, 1)
    _add_up(sums)
    rows = sums.reshape(-1, each)
    total = np.zeros((len(group), each))
    for place, sign in _corners(bins, group, sums.shape):
        (np.add if sign > 0 else np.subtract)(total, rows.take(place, 0), out=total)
    return (total / _sizes(bins)).astype(x.dtype)


def group_means_backward(
    dy: np.ndarray, shape: Sequence[int], bins: Bins, group: np.ndarray, groups: int
) -> np.ndarray:
    """Return the gradient of ``group_means`` in images of this shape (N, C, H, W): it is spread evenly over a bin."""
    n, channels, height, width = shape
    each = channels // groups
    steps = np.zeros((n, height + 1, width + 1, groups, each))
    share = dy / _sizes(bins)
    for place, sign in _corners(bins, group, steps.shape):
        np.add.at(steps.reshape(-1), (place[:, None] * each + np.arange(each)).ravel(), (sign * share).ravel())
    _add_up(steps)
    return steps[:, :-1, :-1].transpose(0, 4, 3, 1, 2).reshape(shape).astype(dy.dtype)


def _sizes(bins: Bins) -> np.ndarray:
    """Return by what the sums (B, ...) of the bins are divided: infinity where a bin is empty."""
    return np.where(bins.empty, np.inf, bins.height * bins.width)[:, None]


def _corners(bins: Bins, group: np.ndarray, shape: Sequence[int]) -> list[tuple[np.ndarray, int]]:
    """Return the rows of the corners of each bin in sums (N, H + 1, W + 1, groups, ...), and the signs of these."""
    _, height, width, groups = shape[:4]

    def row(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return ((bins.image * height + y) * width + x) * groups + group

    return [
        (row(bins.bottom, bins.right), 1),
        (row(bins.bottom, bins.left), -1),
        (row(bins.top, bins.right), -1),
        (row(bins.top, bins.left), 1),
    ]


def _add_up(x: np.ndarray) -> None:
    """Add to every pixel of (N, H, W, ...) all those above and to the left of it, in place."""
    # Row by row, which is faster than cumsum.
    for i in range(1, x.shape[1]):
        x[:, i] += x[:, i - 1]
    for i in range(1, x.shape[2]):
        x[:, :, i] += x[:, :, i - 1]


class Around(NamedTuple):
    """The four pixels around each of B points, as rows (4, B) of images (N H W, C), and how their sum changes.

    The value at a point is the sum of its pixels by their ``shares`` (4, B, 1); ``along_y`` and ``along_x`` are the
    derivatives of these.
    """

    rows: np.ndarray
    shares: np.ndarray
    along_y: np.ndarray
    along_x: np.ndarray


def around(shape: Sequence[int], image: np.ndarray, y: np.ndarray, x: np.ndarray) -> Around:
    """Return what is around points (B,) of images of this shape (N, H, W, C), between whose pixels values are linear.

    Past the first and the last pixels they stay what they are there, and more than half a pixel outside the image they
    are 0.
    """
    _, height, width, _ = shape
    down, right = (y >= 0) & (y < height - 1), (x >= 0) & (x < width - 1)
    inside = (y >= -0.5) & (y <= height - 0.5) & (x >= -0.5) & (x <= width - 0.5)
    y, x = y.clip(0, max(0, height - 1)), x.clip(0, max(0, width - 1))
    top, left = y.astype(int), x.astype(int)
    corner = np.where(inside, (image * height + top) * width + left, 0)
    below, after = np.where(inside & down, width, 0), np.where(inside & right, 1, 0)
    rows = np.stack([corner, corner + after, corner + below, corner + below + after])
    y, x = y - top, x - left
    shares = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]) * inside
    along_y = np.stack([x - 1, -x, 1 - x, x]) * (inside & down)
    along_x = np.stack([y - 1, 1 - y, -y, y]) * (inside & right)
    return Around(rows, shares[..., None], along_y[..., None], along_x[..., None])


def weighted_sum(x: np.ndarray, rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the sums (B, C) of these rows (K, B) of images (N, H, W, C) by their shares, (K, B, 1) or (K, B, C)."""
    pixels = x.reshape(-1, x.shape[3])
    total = np.empty((rows.shape[1], x.shape[3]), x.dtype)
    chunk = max(1, _CACHED // max(1, x.shape[3] * x.itemsize))
    for begin in range(0, len(total), chunk):
        part = slice(begin, begin + chunk)
        added = shares[0, part] * pixels.take(rows[0, part], 0)
        for row, share in zip(rows[1:, part], shares[1:, part], strict=True):
            added += share * pixels.take(row, 0)
        total[part] = added
    return total


def weighted_sum_backward(dy: np.ndarray, shape: Sequence[int], rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the gradient of ``weighted_sum`` in images of this shape (N, H, W, C)."""
    dx = np.zeros(shape, dy.dtype)
    pixels = dx.reshape(-1, shape[3])
    for row, share in zip(rows, shares, strict=True):
        for part in _of_distinct_rows(row, share.any(1)):
            pixels[row[part]] += share[part] * dy[part]
    return dx


def _of_distinct_rows(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Return the positions that count in as few parts as possible, in each of which no row comes twice."""
    order = np.flatnonzero(counts)
    order = order[np.argsort(rows[order], kind="stable")]
    number, row = np.arange(len(order)), rows[order]
    first = np.where(np.append(True, row[1:] != row[:-1])[: len(row)], number, 0)
    times_before = number - np.maximum.accumulate(first)
    by_times = np.argsort(times_before, kind="stable")
    return np.split(order[by_times], np.flatnonzero(np.diff(times_before[by_times])) + 1)
