"""Loans: a NumPy array in a user's hands and the engine's array it stands for (original: syncedmem.cpp)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from weakref import WeakValueDictionary, ref

import numpy as np

from ..ops.array import Array
from ..ops.base import Ops
from .later import Later


class Loan(ABC):
    """A blob's data or diff while a user holds a NumPy array of it."""

    @property
    @abstractmethod
    def held(self) -> bool:
        """True while a user has an array that ``view`` returned, or anything derived from it."""

    @abstractmethod
    def view(self) -> np.ndarray:
        """Return an array that the user may read and write."""

    @abstractmethod
    def stands_for(self, bound: Array | Later | None) -> bool:
        """Return whether the user's arrays show the array that is bound to the blob."""

    @abstractmethod
    def refresh(self, array: Array) -> Array | Later:
        """Copy newly computed values into the user's arrays; return what the blob must bind from now on."""


class SharedLoan(Loan):
    """The user's arrays share the memory of the engine's array; later results are copied into it."""

    def __init__(self, ops: Ops[Array], array: Array) -> None:
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
            # An array derived from another keeps the memory's owner alive, not the array between, unless the owner
            # is no array: then it keeps this one.
            view = np.asarray(view.data)
        self._times += 1
        self._views[self._times] = view
        return view

    def stands_for(self, bound: Array | Later | None) -> bool:
        return bound is self.array

    def refresh(self, array: Array) -> Array:
        with self.ops.quiet():
            self.array[...] = array
        return self.array


class CopiedLoan(Loan, Later):
    """The user's array is a copy, on the host, of an array on a device.

    The last writer wins: the copy is written back whenever the engine reads its array, until the engine itself has
    written into that array or the user has dropped the copy.
    """

    def __init__(self, ops: Ops[Array], array: Array) -> None:
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
    def lasts(self) -> bool:
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
