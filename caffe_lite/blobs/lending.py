"""Lending: arrays that a user holds of a blob, which every pass keeps current (original: syncedmem.cpp)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from weakref import WeakValueDictionary, ref

import numpy as np

from ..ops.base import Array, Ops


class Later:
    """Stands for an array in a blob: it is computed when it is first read, or, while it ``lasts``, whenever it is."""

    lasts = False

    def __init__(self, compute: Callable[[], Array]) -> None:
        self.compute = compute


class Loan(ABC):
    """A blob's data, or its diff, for as long as a user holds a NumPy array of it."""

    @property
    @abstractmethod
    def held(self) -> bool:
        """Whether a user still has an array that ``view`` gave, or anything derived from it."""

    @abstractmethod
    def view(self) -> np.ndarray:
        """An array for the user, to read and to write into."""

    @abstractmethod
    def stands_for(self, bound: Array | Later | None) -> bool:
        """Whether the user's arrays show what is bound to the blob."""

    @abstractmethod
    def refresh(self, array: Array) -> Array | Later:
        """Let the user's arrays have these values, which the engine has computed; what the blob is to bind now."""


def lend(ops: Ops, array: Array) -> Loan:
    """A loan of an array, in the way that the engine allows."""
    return _SharedLoan(ops, array) if ops.shares_memory else _CopiedLoan(ops, array)


class _SharedLoan(Loan):
    """The user's arrays lie in the memory of the engine's; what is computed later is copied there."""

    def __init__(self, ops: Ops, array: Array) -> None:
        self.ops = ops
        self.array = array
        self._views: WeakValueDictionary[int, np.ndarray] = WeakValueDictionary()
        self._times = 0

    @property
    def held(self) -> bool:
        return bool(self._views)

    def view(self) -> np.ndarray:
        view = self.ops.host_view(self.array)
        if view is self.array:
            # What is derived from an array refers to the memory's owner, unless that is no array.
            view = np.asarray(memoryview(view))
        self._times += 1
        self._views[self._times] = view
        return view

    def stands_for(self, bound: Array | Later | None) -> bool:
        return bound is self.array

    def refresh(self, array: Array) -> Array:
        with self.ops.quiet():
            self.array[...] = array
        return self.array


class _CopiedLoan(Loan, Later):
    """An array on a device while a user may write into a copy of it on the host.

    What was touched last holds: whenever the engine reads the array, the copy is written back, until the engine itself
    has written into it or the user has let go of the copy.
    """

    def __init__(self, ops: Ops, array: Array) -> None:
        super().__init__(self._write_back)
        self.ops = ops
        self.array = array
        self.version = ops.version(array)  # when it was last read or written back
        self.unread: np.ndarray | None = np.array(ops.host_view(array))
        self.copy = ref(self.unread)

    @property
    def held(self) -> bool:
        return self.copy() is not None

    @property
    def lasts(self) -> bool:  # type: ignore[override]
        return self.held and self.version == self.ops.version(self.array)

    def view(self) -> np.ndarray:
        values = self.copy()
        assert values is not None
        return values

    def stands_for(self, bound: Array | Later | None) -> bool:
        return bound is self and self.lasts

    def refresh(self, array: Array) -> Later:
        self.view()[...] = self.ops.host_view(array)
        self.array, self.version = array, self.ops.version(array)
        return self

    def _write_back(self) -> Array:
        if self.lasts:
            self.ops.write(self.array, self.view())
            self.version, self.unread = self.ops.version(self.array), None
        return self.array
