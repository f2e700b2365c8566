"""Laziness: a stand-in for an array that is computed when somebody reads it."""

from __future__ import annotations

from collections.abc import Callable

from ..ops.array import Array


class Later:
    """Stand-in for an array in a blob, computed when it is first read or, while it ``lasts``, on every read."""

    def __init__(self, compute: Callable[[], Array]) -> None:
        self.compute = compute

    @property
    def lasts(self) -> bool:
        """True if the blob keeps the stand-in after a read."""
        return False
