"""Blobs: the arrays that flow between layers, and the parameters that layers learn."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ..errors import BlobTooLarge, NetError, Where
from ..ops.array import Array
from ..ops.base import Ops
from .later import Later
from .loans import Loan
from .unknown import UnknownSize

# As in the original, which counts with ints.
MOST_VALUES = 2**31 - 1


class Blob:
    """A shape with two arrays of one engine: ``data``, and ``diff``, the gradient of the loss in it.

    Both are allocated (zeros) when first touched. Assigning binds the array that is given: nothing is copied, so two
    blobs may share one array. ``Reshape`` sets the shape only; arrays of another shape are dropped.
    """

    __slots__ = (
        "_data",
        "_diff",
        "_shape",
        "data_loan",
        "diff_is_shared",
        "diff_loan",
        "name",
        "ops",
        "times_lent",
        "where",
    )

    def __init__(self, ops: Ops[Array], shape: Sequence[int] = (), name: str = "", where: Where | None = None) -> None:
        self.ops = ops
        self.name = name
        self.where = where
        self._shape = _sizes(shape)
        self._data: Array | Later | None = None
        self._diff: Array | Later | None = None
        self.data_loan: Loan | None = None
        self.diff_loan: Loan | None = None
        self.diff_is_shared = False  # with another blob, on a layer's purpose
        self.times_lent = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return prod(self._shape)

    @property
    def num_axes(self) -> int:
        return len(self._shape)

    def Reshape(self, shape: Sequence[int]) -> None:
        shape = tuple(shape)
        if shape != self._shape:
            self._shape = _sizes(shape)
            self._data = self._diff = self.data_loan = self.diff_loan = None

    @property
    def data(self) -> Array:
        if self._data is None:
            self._data = self._zeros()
        elif isinstance(self._data, Later):
            return self._computed(self._data, "data")
        return self._data

    @data.setter
    def data(self, array: Array | Later) -> None:
        self._data = self._bound(array)

    @property
    def diff(self) -> Array:
        if self._diff is None:
            self._diff = self._zeros()
        elif isinstance(self._diff, Later):
            return self._computed(self._diff, "diff")
        return self._diff

    @diff.setter
    def diff(self, array: Array | Later) -> None:
        self._diff = self._bound(array)

    def _zeros(self) -> Array:
        try:
            return self.ops.zeros(self._shape)
        except (MemoryError, RuntimeError, ValueError) as error:  # the last two for what no memory could hold
            raise self.too_large() from error

    def too_large(self) -> BlobTooLarge:
        size = self.count * self.ops.itemsize
        return BlobTooLarge(
            f"there is no room for {f'blob {self.name!r}' if self.name else 'a blob'} of shape {self._shape}, "
            f"which takes {size:,} bytes",
            where=self.where,
            hint="Check its sizes, or take smaller batches",
        )

    def _computed(self, later: Later, name: str) -> Array:
        array = later.compute()
        if not later.lasts:
            setattr(self, name, array)
        return array

    def _bound(self, array: Array | Later) -> Array | Later:
        if isinstance(array, Later):
            return array
        if not self._shape:  # NumPy's operators turn 0-d arrays into scalars
            array = self.ops.scalar(array)
        assert isinstance(array, self.ops.array_type), f"a {type(array).__name__} in a blob"
        assert tuple(array.shape) == self._shape, f"an array of {tuple(array.shape)} in a blob of {self._shape}"
        return array

    @property
    def has_diff(self) -> bool:
        """True if a gradient was written since the last ``clear_diff``; without one, ``diff`` reads as zeros."""
        return self._diff is not None

    def add_diff(self, gradient: Array) -> None:
        """Add into ``diff``; the first gradient after ``clear_diff`` is bound as it is."""
        self.diff = gradient if self._diff is None else self.diff + gradient

    def clear_diff(self) -> None:
        """Forget the gradient; an array of it that a user holds reads zeros."""
        self._diff = None
        if self.diff_loan is not None and self.diff_loan.held:
            self._diff = self.diff_loan.refresh(self.diff)

    @property
    def bound(self) -> tuple[Array | Later | None, Array | Later | None]:
        """The arrays bound for ``data`` and ``diff``, computed or not; None where there is none."""
        return self._data, self._diff

    def exchange(
        self, data: Array | Later | None, diff: Array | Later | None
    ) -> tuple[Array | Later | None, Array | Later | None]:
        """Bind both arrays, None for none, and return those bound before."""
        before = self.bound
        self._data, self._diff = data, diff
        return before

    def allocate(self) -> None:
        """Create ``data`` now if it does not exist. Torch lets nobody change an array that it made during a pass."""
        self.data = self.data

    @property
    def source(self) -> Blob:
        """The blob that owns the arrays."""
        return self


def _sizes(shape: Sequence[Any]) -> tuple[Any, ...]:
    sizes = tuple(n if isinstance(n, UnknownSize) else int(n) for n in shape)
    known = [n for n in sizes if isinstance(n, int)]
    if prod(known) > MOST_VALUES or min(known, default=0) < 0:
        raise NetError(f"there is no blob of shape {sizes}", hint=f"Blobs hold from 0 to {MOST_VALUES:,} values")
    return sizes
