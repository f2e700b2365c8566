"""Change detection: does a blob still hold the values that it held before?"""

from __future__ import annotations

from .blob import Blob
from .lending import data_is_held


def stamp(blob: Blob) -> tuple[int, ...] | None:
    """Return a value that stays equal while nobody writes into ``blob.data``; None if that cannot be known.

    The engine counts its own writes. A user writes through what ``lend`` returned, for as long as they hold it. The
    caller keeps ``blob.data`` alive: its identity is part of the stamp.
    """
    source = blob.source
    if source.ops.shares_memory and data_is_held(source):
        return None
    data = source.data
    version = source.ops.version(data)
    return None if version is None else (id(data), version, source.times_lent)
