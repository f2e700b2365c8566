"""Watching: what a blob held at one time can be had later, and whether it has been written into since.

``stamp`` (``changes.py``) needs an engine that counts its writes; this works with arrays of any kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from ..ops.array import Array
from .blob import Blob
from .later import Later
from .lending import data_is_held


class Watch(Later):
    """What a blob held when it was watched: it stands in for the array until somebody reads ``blob.data``.

    Who has not read an array cannot write into it. So the first read copies it.
    """

    def __init__(self, blob: Blob, array: Array) -> None:
        super().__init__(self._handed_out)
        self.blob = blob
        self.array = array
        self.copy: Array | None = None

    @property
    def values(self) -> Array:
        """The array as it was; nobody may write into it."""
        return self.array if self.copy is None else self.copy

    @property
    def intact(self) -> bool:
        """True if nobody has read the blob since, and it still holds the array."""
        return self.blob.bound[0] is self

    def _handed_out(self) -> Array:
        if self.copy is None:
            self.copy = self.blob.ops.copy(self.array)
        return self.array


def all_intact(watches: Iterable[Watch]) -> bool:
    """Return whether nobody has read any of the blobs since they were watched."""
    return not [one for one in watches if one.blob._data is not one]  # hundreds, in every pass


def watch(blob: Blob, known: Watch | None = None) -> Watch:
    """Watch a blob from now on; return ``known``, an earlier watch of it, if the values are still the same."""
    source = blob.source
    bound = source.bound[0]
    if isinstance(bound, Watch):  # that of another net, if it is not the known one
        return bound
    array = source.data
    if known is None or not _equal(source, known.values, array):
        known = Watch(source, array)
    known.array = array
    if data_is_held(source):  # the user can write without another read
        known.copy = source.ops.copy(array) if known.copy is None else known.copy
    else:
        known.copy = None
        source.exchange(known, source.bound[1])
    return known


def _equal(blob: Blob, old: Array, new: Array) -> bool:
    before, now = blob.ops.host_view(old), blob.ops.host_view(new)
    return np.array_equal(before, now) or np.array_equal(before, now, equal_nan=True)


def release(blob: Blob) -> None:
    """Bind the array itself again, because what it holds now need not be had later."""
    source = blob.source
    if isinstance(bound := source.bound[0], Watch):
        source.exchange(bound.array, source.bound[1])


@contextmanager
def readable(watches: Iterable[Watch]) -> Iterator[None]:
    """Let arrays be read, by code that does not write into them, without copies."""
    lifted = [(one, one.blob.times_lent) for one in watches if one.intact]
    for one, _ in lifted:
        release(one.blob)
    try:
        yield
    finally:
        for one, times_lent in lifted:
            source = one.blob
            if source.times_lent == times_lent and source.bound[0] is one.array:
                source.exchange(one, source.bound[1])
            else:
                one.copy = one.blob.ops.copy(one.array)


@contextmanager
def as_watched(watches: Iterable[Watch]) -> Iterator[None]:
    """Let blobs hold for some time, in the same arrays, what they held when they were watched."""
    changed = [(one, one.blob.bound, None if one.copy is None else one.blob.ops.copy(one.array)) for one in watches]
    for one, bound, now in changed:
        one.blob.exchange(one.array, bound[1])
        if now is not None:
            one.array[...] = one.copy
    try:
        yield
    finally:
        for one, bound, now in changed:
            one.blob.exchange(*bound)
            if now is not None:
                one.array[...] = now
