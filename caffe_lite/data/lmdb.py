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

_COPY_AGAIN = "Copy it again from where it was made"


class LMDB(Database):
    """An LMDB, read without its lock file, so it may lie in a folder that cannot be written to.

    Nobody may write into it meanwhile: a writer cannot see this reader. A file cut short is refused; but where a page
    inside it is damaged, liblmdb may abort the process, as it would the original's.
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
            damaged = isinstance(error, (lmdb.InvalidError, lmdb.CorruptedError))
            raise DataError(
                f"{path!r} cannot be opened as an LMDB: {error}", hint=_COPY_AGAIN if damaged else ""
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
    _require_bytes(path, status.st_size, 1)
    identity = (file, status.st_dev, status.st_ino)
    with _lock:
        environment = _environments.get(identity)
        if environment is None:
            environment = lmdb.open(path, readonly=True, lock=False, create=False)
            # The file is mapped into memory: to touch what is missing kills the process.
            pages = environment.info()["last_pgno"] + 1
            _require_bytes(path, status.st_size, pages * environment.stat()["psize"])
            _environments[identity] = environment
    return environment


def _require_bytes(path: str, size: int, needed: int) -> None:
    if size < needed:
        raise DataError(f"the LMDB {path!r} is cut short: data.mdb has {size:,} bytes of {needed:,}", hint=_COPY_AGAIN)
