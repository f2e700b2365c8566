"""Databases of Datum records, read in the order of their keys, around and around."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from itertools import islice

from ...errors import DataError
from ...logs.log import logger

Record = tuple[bytes, bytes]


class Database(abc.ABC):
    """A database opened for reading, and the place in it: the key of the record that comes next."""

    position: bytes

    def __init__(self, path: str) -> None:
        self.path = path

    @abc.abstractmethod
    def records(self, start: bytes = b"") -> Iterator[Record]:
        """The records in the order of their keys, from the key ``start`` on, or the first one behind it."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the files."""

    def rewind(self) -> None:
        for key, _ in self.records():
            self.position = key
            return
        raise DataError(f"the database {self.path!r} holds no records", hint="Make it again: it was never filled")

    def seek(self, key: bytes) -> None:
        """Go on from the record of this key."""
        if next((found for found, _ in self.records(key)), None) != key:
            raise DataError(
                f"the database {self.path!r} has no record {key!r}, where training is to go on",
                hint="It is not the one that the snapshot was made with; resume with that one, or start anew",
            )
        self.position = key

    def peek(self) -> Record:
        """The record that comes next."""
        return next(self.records(self.position))

    def read(self, count: int) -> list[Record]:
        """The next records; behind the last comes the first."""
        records = list(islice(self.records(self.position), count + 1))
        while len(records) <= count:
            logger.info("Restarting data prefetching from start.")
            records += islice(self.records(), count + 1 - len(records))
        self.position, _ = records.pop()
        return records
