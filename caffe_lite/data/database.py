"""Databases of Datum records, read in the order of their keys, around and around."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator
from itertools import islice

from ..errors import DataError, Where
from ..log import logger
from ..proto import caffe_pb2
from .paths import resolve, searched

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


def open_database(source: str, backend: int, where: Where | None = None) -> Database:
    """The database at ``source``, which ``resolve`` finds, with its first record coming next."""
    path = resolve(source, where)
    if not os.path.exists(path):
        raise DataError(
            f"there is no database {source!r}: looked for {searched(source, where)}",
            hint="Put it there, or correct the " + ("path" if where is None else "source in data_param"),
        )
    is_lmdb = os.path.isfile(path) or os.path.isfile(os.path.join(path, "data.mdb"))
    is_leveldb = os.path.isfile(os.path.join(path, "CURRENT"))
    database: Database
    if backend == caffe_pb2.DataParameter.LMDB:
        if not is_lmdb:
            raise DataError(
                f"{path!r} is not an LMDB: it is not a folder with a file data.mdb in it",
                hint="It is a LevelDB: write `backend: LEVELDB` in data_param, or --backend=leveldb"
                if is_leveldb
                else "Give the folder that holds data.mdb",
            )
        from .lmdb import LMDB

        database = LMDB(path)
    else:
        if not is_leveldb:
            raise DataError(
                f"{path!r} is not a LevelDB: it is not a folder with a file CURRENT in it",
                hint="It is an LMDB: write `backend: LMDB` in data_param (LEVELDB is the default), or --backend=lmdb"
                if is_lmdb
                else "Give the folder that holds CURRENT and the MANIFEST",
            )
        from .leveldb import LevelDB

        database = LevelDB(path)
    try:
        database.rewind()
    except DataError:
        database.close()
        raise
    logger.info("Opened %s %s", caffe_pb2.DataParameter.DB.Name(backend).lower(), source)
    return database
