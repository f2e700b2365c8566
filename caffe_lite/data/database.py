"""Databases of Datum records, read in the order of their keys, around and around."""

from __future__ import annotations

import abc
import os

from ..errors import DataError, Where
from ..log import logger
from ..proto import caffe_pb2
from .paths import resolve, searched

Record = tuple[bytes, bytes]


class Database(abc.ABC):
    """A database opened for reading, with a cursor on the record that comes next. Nothing is ever written.

    A backend implements the five operations of its cursor; ``errors`` are the exceptions they may raise.
    """

    errors: tuple[type[Exception], ...]

    def __init__(self, path: str) -> None:
        self.path = path

    @abc.abstractmethod
    def first(self) -> bool:
        """Go to the first record; False where there is none."""

    @abc.abstractmethod
    def next(self) -> bool:
        """Go to the record behind; False at the end."""

    @abc.abstractmethod
    def find(self, key: bytes) -> bool:
        """Go to the record of this key; False where there is none."""

    @abc.abstractmethod
    def item(self) -> Record:
        """The key and the value under the cursor."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the files."""

    def rewind(self) -> None:
        try:
            found = self.first()
        except self.errors as error:
            raise self._broken(error) from error
        if not found:
            raise DataError(f"the database {self.path!r} holds no records", hint="Make it again: it was never filled")

    def peek(self) -> Record:
        """The record that comes next; the cursor stays."""
        try:
            return self.item()
        except self.errors as error:
            raise self._broken(error) from error

    def read(self, count: int) -> list[Record]:
        """The next records; behind the last comes the first."""
        records = []
        try:
            for _ in range(count):
                records.append(self.item())
                if not self.next():
                    logger.info("Restarting data prefetching from start.")
                    self.first()
        except self.errors as error:
            raise self._broken(error) from error
        return records

    @property
    def position(self) -> bytes:
        """The key of the record that comes next; to go on from there, give it to ``seek``."""
        return self.peek()[0]

    def seek(self, key: bytes) -> None:
        try:
            found = self.find(key)
        except self.errors as error:
            raise self._broken(error) from error
        if not found:
            raise DataError(
                f"the database {self.path!r} has no record {key!r}, where training is to go on",
                hint="It is not the one that the snapshot was made with; resume with that one, or start anew",
            )

    def _broken(self, error: Exception) -> DataError:
        return DataError(f"the database {self.path!r} is damaged: {error}", hint="Copy it again from where it was made")


def open_database(source: str, backend: int, where: Where | None = None) -> Database:
    """The database at ``source``, which ``resolve`` finds, with its cursor on the first record."""
    path = resolve(source, where)
    is_lmdb = os.path.isfile(os.path.join(path, "data.mdb"))
    if backend == caffe_pb2.DataParameter.LEVELDB:
        raise DataError(
            f"{source!r} is to be read as LEVELDB, which is not supported",
            hint="It is an LMDB: write `backend: LMDB` in data_param (LEVELDB is the default)"
            if is_lmdb
            else "Convert it to an LMDB, and write `backend: LMDB` in data_param",
        )
    if not os.path.exists(path):
        raise DataError(
            f"there is no database {source!r}: looked for {searched(source, where)}",
            hint="Put it there, or correct the source in data_param",
        )
    if not is_lmdb:
        raise DataError(
            f"{path!r} is not an LMDB: it is not a folder with a file data.mdb in it",
            hint="Give source the folder that holds data.mdb",
        )
    from .lmdb import LMDB

    database = LMDB(path)
    database.rewind()
    logger.info("Opened lmdb %s", source)
    return database
