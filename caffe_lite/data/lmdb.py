"""LMDB: the backend of nearly every database made for Caffe."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakValueDictionary

from ..errors import DataError, MissingExtra
from .database import Database, Record

# An environment may be open once in a process: the nets that read one database share it.
_environments: WeakValueDictionary[tuple[str, int, int], Any] = WeakValueDictionary()
_lock = threading.Lock()


class LMDB(Database):
    """An LMDB, read without its lock file, so it may lie in a folder that cannot be written to.

    Nobody may write into it meanwhile: a writer cannot see this reader.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        try:
            import lmdb
        except ImportError:
            raise MissingExtra("lmdb", "data", "read LMDB databases") from None
        self.errors = (lmdb.Error,)
        try:
            self._environment = _open(lmdb, path)
            self._cursor = self._environment.begin().cursor()
        except (lmdb.Error, OSError) as error:
            raise DataError(
                f"{path!r} cannot be opened as an LMDB: {error}", hint="Copy it again from where it was made"
            ) from error

    def first(self) -> bool:
        return self._cursor.first()

    def next(self) -> bool:
        return self._cursor.next()

    def find(self, key: bytes) -> bool:
        return self._cursor.set_key(key)

    def item(self) -> Record:
        return self._cursor.item()

    def close(self) -> None:
        self._cursor = self._environment = None


def _open(lmdb: Any, path: str) -> Any:
    """The environment, from whoever has it open already."""
    file = os.path.join(os.path.realpath(path), "data.mdb")
    status = os.stat(file)
    identity = (file, status.st_dev, status.st_ino)
    with _lock:
        environment = _environments.get(identity)
        if environment is None:
            environment = lmdb.open(path, readonly=True, lock=False, create=False)
            _require_whole(environment, path, status.st_size)
            _environments[identity] = environment
    return environment


def _require_whole(environment: Any, path: str, size: int) -> None:
    """Refuse a file that ends early: the file is mapped into memory, and to touch what is missing kills the process."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        raise DataError(
            f"the LMDB {path!r} is cut short: data.mdb has {size:,} bytes of {needed:,}",
            hint="Copy it again from where it was made",
        )
