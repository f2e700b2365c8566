"""Databases of Datum records, read in the order of their keys, over and over again."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ...errors import DataError
from ...logs.log import logger
from ...ranks import WHOLE, Share
from ..order import Place

Record = tuple[bytes, bytes]


class Database(abc.ABC):
    """A database opened for reading, and the place in it: the key of the record that comes next."""

    position: bytes

    def __init__(self, path: str) -> None:
        self.path = path

    @abc.abstractmethod
    def records(self, start: bytes = b"", wanted: Iterator[bool] | None = None) -> Iterator[Record]:
        """Yield the records in the order of their keys, from the key ``start``, or the first key after it, on.

        ``wanted`` says of one record after another whether its value is read; the others' values are empty.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the files."""

    def index(self) -> Sequence[Any] | np.ndarray:
        """Return where each record is, in the order of their keys, for ``find``: by default its key."""
        return [key for key, _ in self.records()]

    def find(self, place: Any) -> Record:
        """Return the record at one of the places of the index."""
        return next(self.records(place))

    def rewind(self) -> None:
        for key, _ in self.records():
            self.position = key
            return
        raise DataError(f"the database {self.path!r} holds no records", hint="Make it again: it was never filled")

    def seek(self, key: bytes) -> None:
        """Go on from the record with this key."""
        if next((found for found, _ in self.records(key)), None) != key:
            raise DataError(
                f"the database {self.path!r} has no record {key!r}, where training is to go on",
                hint="It is not the one that the snapshot was made with; resume with that one, or start anew",
            )
        self.position = key

    def peek(self) -> Record:
        """Return the next record without reading on."""
        return next(self.records(self.position))

    def read(self, count: int, share: Share = WHOLE) -> list[Record]:
        """Return this share of the next records, of which each has ``count``; the first follows the last.

        Of the others' records only the keys are read, so that the position is the same for all.
        """
        total = count * share.count
        wanted = None if share.count == 1 else _each(share.of(range(total)), total + 1)
        records = list(islice(self.records(self.position, wanted), total + 1))
        while len(records) <= total:
            logger.info("Restarting data prefetching from start.")
            records += islice(self.records(b"", wanted), total + 1 - len(records))
        self.position, _ = records.pop()
        return list(share.of(records))

    def place(self) -> Place:
        """Return the place of the next record."""
        return {"next_key": self.position.hex()}

    def go_on(self, place: Place) -> None:
        """Go on from a place."""
        self.seek(bytes.fromhex(place["next_key"]))


def _each(numbers: Sequence[int], count: int) -> Iterator[bool]:
    """Say of each of ``count`` things whether its number is one of these."""
    chosen = np.zeros(count, bool)
    chosen[numbers] = True
    return iter(chosen.tolist())
