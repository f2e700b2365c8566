"""Blobs as pycaffe's scripts see them: their arrays are NumPy's, on every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from numbers import Real
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from ..blobs import Blob
from ..blobs.lending import lend, lend_diff
from ..errors import NetError
from ..ops.array import Array
from ..ops.base import Ops

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class HostBlob:
    """A blob as pycaffe shows it: ``data`` and ``diff`` are writable NumPy arrays, on every engine.

    An array that somebody holds always shows the results of the newest pass, as in the original; copy values that must
    outlive it. A blob that gets another shape no longer updates the arrays of the old one. Assigning to ``data`` or
    ``diff`` copies the values in (the original refuses the assignment).
    """

    __slots__ = ("__weakref__", "blob")

    def __init__(self, blob: Blob) -> None:
        self.blob = blob

    @property
    def data(self) -> np.ndarray:
        return lend(self.blob)

    @data.setter
    def data(self, values: ArrayLike) -> None:
        self.data[...] = values

    @property
    def diff(self) -> np.ndarray:
        return lend_diff(self.blob)

    @diff.setter
    def diff(self, values: ArrayLike) -> None:
        self.diff[...] = values

    @property
    def shape(self) -> tuple[int, ...]:
        return self.blob.shape

    @property
    def count(self) -> int:
        return self.blob.count

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1

    def reshape(self, *shape: Any) -> None:
        """Give the blob another shape: ``blob.reshape(1, 3, 227, 227)``."""
        if not all(isinstance(size, Real) and size % 1 == 0 for size in shape):
            raise BlobsError(
                f"a blob cannot be reshaped to {shape}", hint="give a whole number per axis: reshape(*shape)"
            )
        self.blob.Reshape([int(size) for size in shape])

    def __repr__(self) -> str:
        return f"<Blob {' x '.join(map(str, self.shape)) or 'scalar'}>"


_shown: WeakValueDictionary[int, HostBlob] = WeakValueDictionary()  # by the identity of the blob that each keeps alive


def shown_blob(blob: Blob) -> HostBlob:
    """Return the blob as pycaffe shows it: the same object for as long as anybody holds it."""
    shown = _shown.get(id(blob))
    if shown is None:
        shown = _shown[id(blob)] = HostBlob(blob)
    return shown


class HostBlobs(MutableSequence[HostBlob]):
    """A layer's learnable blobs as pycaffe shows them (its BlobVec): a live view, so changing it changes the layer.

    A blob that is assigned to an index shares its storage with its origin. A solver trains it from then on in place of
    the previous blob, unless the net already learns it as a blob of another layer.
    """

    def __init__(self, blobs: list[Blob] | None = None, ops: Ops[Array] | None = None) -> None:
        self._blobs = [] if blobs is None else blobs
        self._ops = ops
        self.replaced: Callable[[int, Blob, Blob], None] | None = None

    def __len__(self) -> int:
        return len(self._blobs)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return HostBlobs(self._blobs[index], self._ops)
        return shown_blob(self._blobs[index])

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            places, values = range(len(self))[index], list(value)
            if len(places) != len(values):
                raise BlobsError(f"{len(values)} blobs cannot take the place of {len(places)}")
            for place, blob in zip(places, values, strict=True):
                self[place] = blob
            return
        place = range(len(self))[index]
        old, new = self._blobs[place], self._fitting(value)
        if new.shape != old.shape:
            raise BlobsError(
                f"a blob of shape {new.shape} cannot take the place of one of {old.shape}",
                hint="copy values in: params[name][0].data[...] = array",
            )
        self._blobs[place] = new
        if self.replaced is not None:
            self.replaced(place, old, new)

    def __delitem__(self, index: int | slice) -> None:
        del self._blobs[index]

    def insert(self, index: int, value: HostBlob) -> None:
        self._blobs.insert(index, self._fitting(value))

    def extend(self, values: Iterable[HostBlob]) -> None:
        self._blobs.extend([self._fitting(value) for value in values])

    def add_blob(self, *shape: int) -> HostBlob:
        """Give a Python layer one more learnable blob, filled with zeros."""
        if self._ops is None:
            from ..ops import get_ops

            self._ops = get_ops()
        self._blobs.append(Blob(self._ops, shape))
        return self[-1]

    def _fitting(self, value: object) -> Blob:
        if not isinstance(value, HostBlob):
            raise BlobsError(
                f"a {type(value).__name__} is no blob", hint="to change values: params[name][0].data[...] = array"
            )
        if self._ops is not None and _home(value.blob.ops) != _home(self._ops):
            raise BlobsError(
                f"a blob of {' '.join(_home(value.blob.ops))} is none of {' '.join(_home(self._ops))}",
                hint="copy values in: params[name][0].data[...] = other.data",
            )
        return value.blob

    def __repr__(self) -> str:
        return f"<BlobVec {list(self)}>"


def _home(ops: Ops[Array]) -> tuple[str, str, str]:
    """Return engine, dtype and device, which must be the same for blobs to be exchanged."""
    return ops.name, str(ops.dtype).rpartition(".")[2].strip("'>"), str(getattr(ops, "device", "cpu"))


class BlobsError(NetError, TypeError):
    """An object that does not fit among a layer's blobs, or an impossible shape."""
