"""Index arithmetic, without any array: where the windows of convolution and pooling meet the image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from ..windows import Ints, convolved, extent

Index = tuple[slice, ...]


class Grid(NamedTuple):
    """``out`` windows of ``kernel`` elements over an image of ``size``; one entry per spatial axis.

    Its indices are for arrays (C, *spatial, N). They leave out the padding, so no image is copied to widen it.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]

    @classmethod
    def of_convolution(cls, size: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> Grid:
        out = tuple(convolved(*axis) for axis in zip(size, kernel, stride, pad, dilation, strict=True))
        return cls(tuple(size), tuple(kernel), tuple(stride), tuple(pad), tuple(dilation), out)

    @classmethod
    def of_pooling(
        cls, size: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> Grid:
        dilation = dilation or (1,) * len(kernel)
        return cls(tuple(size), tuple(kernel), tuple(stride), tuple(pad), tuple(dilation), tuple(out))

    def transposed(self) -> Grid:
        """Return, for stride 1, the windows over the outputs: each sees the outputs that one image element affects."""
        pad = tuple(extent(k, d) - 1 - p for k, p, d in zip(self.kernel, self.pad, self.dilation, strict=True))
        return Grid(self.out, self.kernel, self.stride, pad, self.dilation, self.size)

    def with_unit_axis(self) -> Grid:
        """Return the same windows with an axis of length 1 before the others."""
        return Grid(
            (1, *self.size), (1, *self.kernel), (1, *self.stride), (0, *self.pad), (1, *self.dilation), (1, *self.out)
        )

    def inner(self) -> Grid:
        """Return the grid without its first axis."""
        return Grid(*(field[1:] for field in self))

    def taps(self) -> list[tuple[Index, Index]]:
        """Return, for every kernel position in row-major order, its windows inside the image and the elements met."""
        return _taps(self)

    def along(self, axis: int) -> list[tuple[Index, Index]]:
        """Return the ``taps`` of one spatial axis alone."""
        before = (slice(None),) * (axis + 1)
        line = Grid(*(field[axis : axis + 1] for field in self))
        return [((*before, windows[1]), (*before, elements[1])) for windows, elements in line.taps()]

    def rows(self) -> Iterator[tuple[int, slice, slice]]:
        """Yield every window along the first axis: its place, and the rows of the kernel and of the image that meet.

        The windows must not be dilated along this axis.
        """
        for place in range(self.out[0]):
            start = place * self.stride[0] - self.pad[0]
            first, last = max(0, -start), min(self.kernel[0], self.size[0] - start)
            last = max(first, last)
            yield place, slice(first, last), slice(start + first, start + last)

    def empty(self) -> list[Index]:
        """Return the indices of the windows that meet no element."""
        indices: list[Index] = []
        for axis, (n, k, s, p, d, o) in enumerate(zip(*self, strict=True)):
            alone = [i for i in range(o) if not any(0 <= i * s - p + j * d < n for j in range(k))]
            indices += [(slice(None),) * (axis + 1) + (slice(i, i + 1),) for i in alone]
        return indices


@lru_cache(maxsize=256)
def _taps(grid: Grid) -> list[tuple[Index, Index]]:
    axes = zip(grid.size, grid.kernel, grid.stride, grid.pad, grid.dilation, grid.out, strict=True)
    along = [[_meeting(n, s, k * d - p, o) for k in range(kernel)] for n, kernel, s, p, d, o in axes]
    every = slice(None)
    return [((every, *(w for w, _ in at)), (every, *(e for _, e in at))) for at in product(*along)]


def _meeting(size: int, stride: int, offset: int, out: int) -> tuple[slice, slice]:
    """Return the windows i with 0 <= i * stride + offset < size, and these elements."""
    first = max(0, -(offset // stride))
    last = min(out, -((offset - size) // stride))
    if first >= last:
        return slice(0, 0), slice(0, 0)
    begin = first * stride + offset
    return slice(first, last), slice(begin, begin + (last - first - 1) * stride + 1, stride)
