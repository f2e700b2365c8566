"""Blobs: the arrays that flow between layers, and the parameters that layers learn."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import BlobTooLarge, NetError, Where
from ..ops.base import Array, Ops
from .lending import Later, Loan, lend
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

    def __init__(self, ops: Ops, shape: Sequence[int] = (), name: str = "", where: Where | None = None) -> None:
        self.ops = ops
        self.name = name
        self.where = where
        self._shape = _sizes(shape)
        self._data: Array | None = None
        self._diff: Array | None = None
        self.data_loan: Loan | None = None
        self.diff_loan: Loan | None = None
        self.diff_is_shared = False  # whether a layer means another blob to have the same array for its diff
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
    def data(self, array: Array) -> None:
        self._data = self._bound(array)

    @property
    def diff(self) -> Array:
        if self._diff is None:
            self._diff = self._zeros()
        elif isinstance(self._diff, Later):
            return self._computed(self._diff, "diff")
        return self._diff

    @diff.setter
    def diff(self, array: Array) -> None:
        self._diff = self._bound(array)

    def _zeros(self) -> Array:
        try:
            return self.ops.zeros(self._shape)
        except (MemoryError, RuntimeError, ValueError) as error:  # the last two for what no memory could hold
            raise self._too_large() from error

    def _too_large(self) -> BlobTooLarge:
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

    def _bound(self, array: Array) -> Array:
        if isinstance(array, Later):
            return array
        if not self._shape:  # NumPy's operators turn 0-d arrays into scalars
            array = self.ops.scalar(array)
        assert isinstance(array, self.ops.array_type), f"a {type(array).__name__} in a blob"
        assert tuple(array.shape) == self._shape, f"an array of {tuple(array.shape)} in a blob of {self._shape}"
        return array

    @property
    def has_diff(self) -> bool:
        """Whether a gradient was written since the last ``clear_diff``; without one, ``diff`` reads as zeros."""
        return self._diff is not None

    def add_diff(self, gradient: Array) -> None:
        """Add into ``diff``; the first gradient after ``clear_diff`` is bound as it is."""
        self.diff = gradient if self._diff is None else self.diff + gradient

    def clear_diff(self) -> None:
        """Forget the gradient; an array of it that a user holds reads zeros."""
        self._diff = None
        if self.diff_is_held:
            self.refresh_held()

    def exchange(self, data: Array | None, diff: Array | None) -> tuple[Array | None, Array | None]:
        """Bind both arrays, None for none, and return those bound before."""
        before = self._data, self._diff
        self._data, self._diff = data, diff
        return before

    def allocate(self) -> None:
        """Make ``data`` now, if it is not there. What torch makes during a pass, it lets nobody change afterwards."""
        self.data = self.data

    @property
    def source(self) -> Blob:
        """The blob whose arrays these are."""
        return self

    def lend(self) -> np.ndarray:
        """``data`` as a NumPy array for a user to write into.

        While he holds it, or what he derives from it, a slice or a transpose, it shows what every pass computes.
        """
        self.times_lent += 1
        if not self.data_is_held:
            self.data_loan = self._loan(self.data)
        return self._view(self.data_loan)

    def lend_diff(self) -> np.ndarray:
        """``diff`` as a NumPy array in row-major order, otherwise as ``lend`` does.

        Layers bind one gradient to several blobs: what is lent is this blob's alone, unless it ``diff_is_shared``.
        """
        if not self.diff_is_held:
            if self._diff is not None and not self.diff_is_shared:
                bound, rows = self.diff, self.ops.row_major(self.diff)
                self.diff = self.ops.copy(rows) if rows is bound else rows
            self.diff_loan = self._loan(self.diff)
        return self._view(self.diff_loan)

    def _view(self, loan: Loan | None) -> np.ndarray:
        assert loan is not None
        view = loan.view()
        self.refresh_held()
        return view

    @property
    def data_is_held(self) -> bool:
        """Whether a user has an array of ``data``."""
        return self.data_loan is not None and self.data_loan.held

    @property
    def diff_is_held(self) -> bool:
        """Whether a user has an array of ``diff``."""
        return self.diff_loan is not None and self.diff_loan.held

    def refresh_held(self) -> None:
        """Let what users hold of ``data`` and ``diff`` show their values now, and bind the memory that they hold."""
        if (loan := self.data_loan) is not None and loan.held and not loan.stands_for(self._data):
            self._data = loan.refresh(self.data)
        if (loan := self.diff_loan) is not None and loan.held and not loan.stands_for(self._diff):
            self._diff = loan.refresh(self.diff)

    def _loan(self, array: Array) -> Loan:
        try:
            return lend(self.ops, array)
        except MemoryError as error:
            raise self._too_large() from error

    def take_back(self) -> None:
        """Let the engine have what the user wrote: another blob may share the array."""
        for held in (self._data, self._diff):
            if isinstance(held, Later) and held.lasts:
                held.compute()

    def stamp(self) -> tuple[int, ...] | None:
        """What stays equal while nobody writes into ``data``, which the caller keeps alive; None where none can tell.

        The engine counts what it writes itself; a user writes through what ``lend`` gave, as long as he holds it.
        """
        if self.ops.shares_memory and self.data_is_held:
            return None
        data = self.data
        version = self.ops.version(data)
        return None if version is None else (id(data), version, self.times_lent)

    def reshaped(self, shape: Sequence[int]) -> Blob:
        """A blob of another shape over the same storage, for parameters shared under PERMISSIVE."""
        return _ReshapedBlob(self, shape)


class _ReshapedBlob(Blob):
    """What ``Blob.reshaped`` gives: every read and write goes to the owner's arrays."""

    __slots__ = ("owner",)

    def __init__(self, owner: Blob, shape: Sequence[int]) -> None:
        super().__init__(owner.ops, shape)
        self.owner = owner

    @property
    def source(self) -> Blob:
        return self.owner.source

    def stamp(self) -> tuple[int, ...] | None:
        return self.owner.stamp()

    def lend(self) -> np.ndarray:
        return self.owner.lend().reshape(self._shape)

    def lend_diff(self) -> np.ndarray:
        return self.owner.lend_diff().reshape(self._shape)

    @property
    def data_is_held(self) -> bool:
        return self.owner.data_is_held

    @property
    def diff_is_held(self) -> bool:
        return self.owner.diff_is_held

    def refresh_held(self) -> None:
        self.owner.refresh_held()

    def take_back(self) -> None:
        self.owner.take_back()

    @property
    def data(self) -> Array:
        return self.owner.data.reshape(self._shape)

    @data.setter
    def data(self, array: Array) -> None:
        self.owner.data = array.reshape(self.owner.shape)

    @property
    def diff(self) -> Array:
        return self.owner.diff.reshape(self._shape)

    @diff.setter
    def diff(self, array: Array) -> None:
        self.owner.diff = array.reshape(self.owner.shape)

    @property
    def has_diff(self) -> bool:
        return self.owner.has_diff

    def add_diff(self, gradient: Array) -> None:
        self.owner.add_diff(gradient.reshape(self.owner.shape))

    def clear_diff(self) -> None:
        self.owner.clear_diff()


def _sizes(shape: Sequence[Any]) -> tuple[Any, ...]:
    sizes = tuple(n if isinstance(n, UnknownSize) else int(n) for n in shape)
    known = [n for n in sizes if isinstance(n, int)]
    if prod(known) > MOST_VALUES or min(known, default=0) < 0:
        raise NetError(f"there is no blob of shape {sizes}", hint=f"Blobs hold from 0 to {MOST_VALUES:,} values")
    return sizes
