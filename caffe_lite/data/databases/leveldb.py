"""LevelDB, the form of the older databases made for Caffe, read with plyvel without changing their files."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ...errors import DataError, MissingExtra
from .database import Database, Record

# Files that LevelDB writes for itself, and makes again when they are missing.
SCRATCH_FILES = ("LOCK", "LOG", "LOG.old")
# The original's setting: keeping a file open for every part of a large database would take too many.
_MAX_OPEN_FILES = 100


def import_plyvel(purpose: str) -> Any:
    """Import plyvel from one of the packages that have wheels of it."""
    for name in ("plyvel_next", "plyvel"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise MissingExtra("plyvel", "leveldb", purpose)


def reason(error: Exception) -> str:
    """Return LevelDB's message, which plyvel passes on as bytes."""
    return " ".join(os.fsdecode(part) if isinstance(part, bytes) else str(part) for part in error.args)


class LevelDB(Database):
    """A LevelDB: a folder with a file CURRENT. Everything read is checked against its checksums.

    LevelDB locks a folder that it opens, even to read, and writes into it. It therefore gets another folder, with links
    to the files, which it never changes; this way a database can be read from a read-only folder, or twice at a time.
    Reads see the state that the database had when it was opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._plyvel = import_plyvel("read LevelDB databases")
        self._folder = ""
        try:
            self._folder = tempfile.mkdtemp(prefix="caffe_lite_leveldb_")
            self._link_files()
            self._database = self._plyvel.DB(self._folder, paranoid_checks=True, max_open_files=_MAX_OPEN_FILES)
        except (OSError, self._plyvel.Error) as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise self._unreadable(error) from error
        # LevelDB must not be closed while a thread reads, which can happen when the process ends.
        self._lock = threading.Lock()
        self._release = weakref.finalize(self, _release, self._lock, self._database, self._folder)

    def records(self, start: bytes = b"", wanted: Iterator[bool] | None = None) -> Iterator[Record]:
        return self._iterate(start=start) if wanted is None else self._pick(start, wanted)

    def index(self) -> list[bytes]:
        return list(self._iterate(include_value=False))

    def _iterate(self, **options: Any) -> Iterator[Any]:
        try:
            with self._lock:
                cursor = self._database.iterator(verify_checksums=True, fill_cache=False, **options)
            while True:
                with self._lock:
                    found = next(cursor, None)
                if found is None:
                    return
                yield found
        except self._plyvel.Error as error:
            raise self._unreadable(error) from error

    def _pick(self, start: bytes, wanted: Iterator[bool]) -> Iterator[Record]:
        """Yield what ``records`` does, with a cursor that copies only the values that are asked for."""
        try:
            with self._lock:
                cursor = self._database.raw_iterator(verify_checksums=True, fill_cache=False)
                cursor.seek(start)
            while True:
                with self._lock:
                    if not cursor.valid():
                        return
                    found = cursor.key(), cursor.value() if next(wanted) else b""
                    cursor.next()
                yield found
        except self._plyvel.Error as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        self._release()

    def _link_files(self) -> None:
        for file in os.scandir(self.path):
            if file.is_file() and file.name not in SCRATCH_FILES:
                _link(os.path.abspath(file.path), os.path.join(self._folder, file.name))

    def _unreadable(self, error: Exception) -> DataError:
        if not isinstance(error, self._plyvel.Error):
            return DataError(f"the LevelDB {self.path!r} cannot be read: {getattr(error, 'strerror', '') or error}")
        return DataError(
            f"the LevelDB {self.path!r} cannot be read: {reason(error).replace(self._folder, self.path)}",
            hint="Copy it again from where it was made, or make it again; if it is being written, wait for that to end",
        )


def _link(source: str, target: str) -> None:
    """Make a link if the system allows it (Windows may require a privilege, or the same disk), else a copy."""
    for link in (os.symlink, os.link):
        try:
            link(source, target)
            return
        except OSError:
            continue
    shutil.copyfile(source, target)


def _release(lock: threading.Lock, database: Any, folder: str) -> None:
    with lock:
        database.close()
    shutil.rmtree(folder, ignore_errors=True)
