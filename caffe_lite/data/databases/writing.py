"""New databases, LMDB or LevelDB: each appears at its path once it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ...errors import DataError, MissingExtra, Where
from ...files.atomic import Part
from ...files.paths import library_path, system_path
from .leveldb import SCRATCH_FILES, import_plyvel, reason

Put = Callable[[bytes, bytes], None]

# The first size of an LMDB's map; it doubles when it is full.
_MAP_SIZE = 2**24
# Records are written to an LMDB once there are this many, or once they hold this many bytes.
_RECORDS, _BYTES = 1000, 2**25
# Options for a LevelDB with several images in a block, as the original makes it.
_LEVELDB_OPTIONS = {"block_size": 2**16, "write_buffer_size": 2**26, "max_open_files": 100}


@contextmanager
def new_database(path: str, backend: str = "lmdb", replace: bool = False) -> Iterator[Put]:
    """Make a database with a backend in ``WRITERS``: the with block gets ``put(key, value)`` for its records.

    Anything that already exists at ``path`` stays as it is, or, to ``replace`` a database, until the block has ended.
    Nothing appears there before, and nothing is left behind if the block raises.
    """
    path = system_path(path, DataError)
    refuse_existing(path, replace)
    target = Path(os.path.abspath(path))
    try:
        with closing(Part(target, os.mkdir)) as part:
            with WRITERS[backend](os.fspath(part.path), Where(path)) as put:
                yield put
            refuse_existing(path, replace)
            _put_in_place(part.path, target)
    except OSError as error:
        raise DataError(
            f"cannot write it: {error.strerror or error}",
            where=Where(path),
            hint="" if target.parent.is_dir() else f"Make the folder first: mkdir -p {target.parent}",
        ) from error


def _put_in_place(folder: Path, target: Path) -> None:
    """Rename a folder, and then remove the one whose place it took."""
    if not os.path.lexists(target):
        os.rename(folder, target)
        return
    old = folder.with_suffix(".old")
    os.rename(target, old)
    os.rename(folder, target)
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old)


def refuse_existing(path: str, except_database: bool = False) -> None:
    """Raise a DataError if there is something at the path, perhaps except a folder that holds a database."""
    folder = Path(system_path(path, DataError))
    if not os.path.lexists(folder):
        return
    if not except_database:
        raise DataError("it exists already", where=Where(path), hint="Remove it, or choose another name")
    if not (folder / "data.mdb").is_file() and not (folder / "CURRENT").is_file():
        raise DataError("it exists already, and is no database", where=Where(path), hint="Choose another name")


@contextmanager
def _lmdb_writer(folder: str, where: Where) -> Iterator[Put]:
    try:
        import lmdb
    except ImportError:
        raise MissingExtra("lmdb", "data", "write LMDB databases") from None
    try:
        with lmdb.open(library_path(folder), map_size=_MAP_SIZE, lock=False, sync=False) as environment:
            transactions = _Transactions(environment, lmdb.MapFullError, where)
            yield transactions.put
            transactions.commit()
            environment.sync(True)
            size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        file = os.path.join(folder, "data.mdb")
        if os.path.getsize(file) > size:  # on Windows, the file is as large as the map
            os.truncate(file, size)
    except lmdb.Error as error:
        raise DataError(f"cannot write it: {error}", where=where) from error


class _Transactions:
    """Writes records into an LMDB, many in each transaction."""

    def __init__(self, environment: Any, full: type[Exception], where: Where) -> None:
        self.environment, self.full, self.where = environment, full, where
        self.waiting: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.last_key = b""

    def put(self, key: bytes, value: bytes) -> None:
        longest = self.environment.max_key_size()
        if not 0 < len(key) <= longest:
            raise DataError(
                f"an LMDB takes keys of 1 to {longest} bytes, this one has {len(key)}: {key!r}",
                where=self.where,
                hint="Shorten it, or make a LevelDB",
            )
        self.waiting.append((key, value))
        self.size += len(value)
        if len(self.waiting) >= _RECORDS or self.size >= _BYTES:
            self.commit()

    def commit(self) -> None:
        while not self._fits():
            self.environment.set_mapsize(2 * self.environment.info()["map_size"])
        self.waiting.clear()
        self.size = 0

    def _fits(self) -> bool:
        last = self.last_key
        try:
            with self.environment.begin(write=True) as transaction:
                for key, value in self.waiting:
                    transaction.put(key, value, append=key > last)  # appended records fill their pages
                    last = max(last, key)
        except self.full:
            return False
        self.last_key = last
        return True


@contextmanager
def _leveldb_writer(folder: str, where: Where) -> Iterator[Put]:
    plyvel = import_plyvel("write LevelDB databases")
    try:
        database = plyvel.DB(library_path(folder), create_if_missing=True, error_if_exists=True, **_LEVELDB_OPTIONS)
        try:
            yield database.put
        finally:
            database.close()
        # Opening the database moves the rest of its log into a table, here once instead of once for every reader.
        plyvel.DB(library_path(folder), **_LEVELDB_OPTIONS).close()
    except plyvel.Error as error:
        raise DataError(f"cannot write it: {reason(error)}", where=where) from error
    for name in SCRATCH_FILES:
        file = os.path.join(folder, name)
        if os.path.exists(file):
            os.remove(file)


WRITERS = {"lmdb": _lmdb_writer, "leveldb": _leveldb_writer}
