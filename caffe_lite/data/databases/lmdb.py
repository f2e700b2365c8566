"""LMDB, the form of nearly every database made for Caffe, read in Python: no damaged file can crash the process."""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import ge
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...logs.log import logger
from .database import Database, Record

_MAGIC = 0xBEEFC0DE
_VERSION = 1
_PAGE_SIZES = [2**power for power in range(9, 16)]
_MAX_DEPTH = 32
_NO_PAGE = 2**64 - 1

# The kinds of pages; flags outside _KINDS matter to writers only.
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_KINDS = 0x6F
# The flags of a record: its value lies in pages of its own; it is a named database.
_BIG, _NAMED = 1, 2

# A page of the tree: its number, its kind, where its free space begins and ends.
_HEADER = struct.Struct("<Q2xHHH")
# The pages of a big value: the number of the first, its kind, the number of pages.
_BIG_HEADER = struct.Struct("<Q2xHI")
# A node: the halves of the value's size, flags, the key's size. In a branch, the first three form a page number.
_NODE = struct.Struct("<HHHH")
_PAGE_NUMBER = struct.Struct("<Q")
# The fields of _Meta; the address at which it was mapped and the size of the map are skipped.
_META_PAGE = struct.Struct("<Q2xH4x II16x I4x3Q16x 4xHH5Q 2Q")

_AGAIN = "Copy it again from where it was made, or make it again"


class _Meta(NamedTuple):
    """A meta page: the state of a database after one transaction."""

    number: int
    kind: int
    magic: int
    version: int
    page_size: int
    # The tree of free pages
    free_branches: int
    free_leaves: int
    free_overflows: int
    # The tree of records
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int

    last_page: int
    transaction: int

    def is_valid(self, offset: int) -> bool:
        """Return whether this can be the meta page at this offset: the first is page 0, the second page 1."""
        return (
            self.number * self.page_size == offset
            and self.number < 2
            and self.kind & _KINDS == _META
            and (self.magic, self.version) == (_MAGIC, _VERSION)
            and self.page_size in _PAGE_SIZES
            and (self.depth <= _MAX_DEPTH and self.root <= self.last_page if self.depth else self.root == _NO_PAGE)
        )

    def pages_in_use(self) -> int:
        """Count the pages that must exist: a file may end before its last page if that page is free."""
        trees = self.free_branches + self.free_leaves + self.free_overflows + self.branches + self.leaves
        return 2 + trees + self.overflows


class _Nodes(NamedTuple):
    """The contents of a page of the tree: the keys and, for each record, the size of its value, its flags and the place
    in the page where its value begins. Nodes of a branch lead to pages, and have a page number instead of the size."""

    page: int
    content: bytes
    keys: list[bytes]
    places: list[tuple[int, int, int]]


class LMDB(Database):
    """An LMDB: a folder with a file data.mdb, or a single file. No lock is taken, and no file is written.

    Reads see the state that the database had when it was opened. Nothing may write into it or truncate it meanwhile: a
    writer cannot see this reader, and reuses pages that are still being read. Every page is checked before it is used,
    and its keys against those of the pages above it. LMDB has no checksums, so damage inside a value is not noticed.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file = os.path.join(path, "data.mdb") if os.path.isdir(path) else path
        self._map = self._open()
        self._latest: dict[int, _Nodes] = {}
        self._meta = self._newest_meta()
        if self._meta.flags:
            raise DataError(
                f"the LMDB {self._file!r} sorts its records in a way of its own (flags {self._meta.flags:#x})",
                hint="Databases made for Caffe do not; write the records into a plain one",
            )
        self._page_size = self._meta.page_size
        self._require_pages(self._meta.pages_in_use())

    def __len__(self) -> int:
        return self._meta.entries

    def records(self, start: bytes = b"", wanted: Iterator[bool] | None = None) -> Iterator[Record]:
        if not self._meta.depth:
            return iter(())
        return self._below(self._meta.root, self._meta.depth, start, b"", None, wanted)

    def index(self) -> np.ndarray:
        """Return the place of each record in the file: where its value begins, its sizes and its flags, in 32 bytes."""
        leaves = self._leaves(self._meta.root, self._meta.depth, b"", None) if self._meta.depth else ()
        return np.concatenate([np.zeros((0, 4), np.int64), *leaves])

    def find(self, place: np.ndarray) -> Record:
        begin, key_size, size, flags = place.tolist()
        return self._map[begin - key_size : begin], self._value(self._map, size, flags, begin)

    def close(self) -> None:
        self._map.close()

    # -- the file ----------------------------------------------------------------------------------------------------

    def _open(self) -> mmap.mmap:
        try:
            with open(self._file, "rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    raise DataError(f"{self._file!r} is not an LMDB: it is empty", hint=_AGAIN)
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{self._file!r} cannot be opened as an LMDB: {reason}") from error

    def _newest_meta(self) -> _Meta:
        """Read the newer of the two meta pages. Transactions write them in turn: a crash in one leaves the other."""
        metas = []
        for offset in [0, *_PAGE_SIZES]:
            if offset + _META_PAGE.size <= len(self._map):
                meta = _Meta._make(_META_PAGE.unpack_from(self._map, offset))
                if meta.is_valid(offset):
                    metas.append(meta)
        if not metas:
            raise self._foreign()
        if len(metas) == 1:
            logger.warning("One of the two meta pages of %s is damaged: the latest changes may be missing", self._file)
        return max(metas, key=lambda meta: meta.transaction)

    def _foreign(self) -> DataError:
        """Explain why there is no valid meta page."""
        head = self._map[: _META_PAGE.size]
        magic = struct.pack("<I", _MAGIC)
        what = f"{self._file!r} is not an LMDB"
        hint = "Give the folder that holds data.mdb; if this is the one, copy it again from where it was made"
        if head[12:16] == magic or magic[::-1] in (head[12:16], head[16:20]):
            what = f"the LMDB {self._file!r} was made by a machine of 32 bits or of another byte order"
            hint = "There, write its records out with mdb_dump; here, load them with mdb_load"
        elif head[16:20] == magic:
            version = int.from_bytes(head[20:24], "little")
            what, hint = f"the LMDB {self._file!r} is damaged: neither of its two meta pages is valid", _AGAIN
            if version != _VERSION:
                what = f"the LMDB {self._file!r} has the format {version}, only {_VERSION} can be read"
        return DataError(what, hint=hint)

    def _require_pages(self, count: int) -> None:
        needed = count * self._page_size
        if len(self._map) < needed:
            raise DataError(
                f"the LMDB {self._file!r} is cut short: it has {len(self._map):,} bytes of {needed:,} or more",
                hint=_AGAIN,
            )

    # -- the tree ----------------------------------------------------------------------------------------------------

    def _below(
        self, page: int, height: int, start: bytes, low: bytes, high: bytes | None, wanted: Iterator[bool] | None
    ) -> Iterator[Record]:
        """Yield the records in and under a page from the key ``start`` on; all keys there must lie in [low, high)."""
        _, content, keys, places = self._nodes(page, height, low, high)
        if height > 1:
            for i in range(bisect_right(keys, start, 1) - 1, len(keys)):
                bound = keys[i + 1] if i + 1 < len(keys) else high
                yield from self._below(places[i][0], height - 1, start, keys[i], bound, wanted)
        else:
            for i in range(bisect_left(keys, start), len(keys)):
                yield keys[i], self._value(content, *places[i]) if wanted is None or next(wanted) else b""

    def _leaves(self, page: int, height: int, low: bytes, high: bytes | None) -> Iterator[np.ndarray]:
        """Yield, for each leaf in and under a page, where its records are: rows (n, 4) for ``find``."""
        _, _, keys, places = self._nodes(page, height, low, high)
        if height == 1:
            start = page * self._page_size
            rows = [
                (start + begin, len(key), size, flags) for key, (size, flags, begin) in zip(keys, places, strict=True)
            ]
            yield np.array(rows, np.int64)
            return
        for key, bound, (child, _, _) in zip(keys, [*keys[1:], high], places, strict=True):
            yield from self._leaves(child, height - 1, key, bound)

    def _nodes(self, page: int, height: int, low: bytes, high: bytes | None) -> _Nodes:
        latest = self._latest.get(height)
        if latest is not None and latest.page == page:
            return latest
        at = self._offset(page, 1)
        content = self._map[at : at + self._page_size]
        number, kind, lower, upper = _HEADER.unpack_from(content)
        is_branch = height > 1
        if number != page or kind & _KINDS != (_BRANCH if is_branch else _LEAF):
            raise self._damaged(page, "another page stands in its place")
        if lower % 2 or not _HEADER.size < lower <= upper <= self._page_size:
            raise self._damaged(page, "its header makes no sense")
        keys, places, filled = [], [], 0
        for offset in struct.unpack_from(f"<{(lower - _HEADER.size) // 2}H", content, _HEADER.size):
            if not upper <= offset <= self._page_size - _NODE.size:
                raise self._damaged(page, "a record lies outside it")
            size, size_high, flags, key_size = _NODE.unpack_from(content, offset)
            size |= size_high << 16
            begin = offset + _NODE.size + key_size
            key = content[begin - key_size : begin]
            if is_branch:
                size, end = size | flags << 32, begin
            elif not flags:
                end = begin + size
            elif flags == _BIG:
                end = begin + _PAGE_NUMBER.size
            else:
                raise self._not_a_record(page, key, flags)
            if end > self._page_size:
                raise self._damaged(page, "a record reaches beyond it")
            filled += (end - offset + 1) & ~1  # each record begins at an even offset
            keys.append(key)
            places.append((size, flags, begin))
        if filled != self._page_size - upper:
            raise self._damaged(page, "its records do not fill it")
        if is_branch:
            keys[0] = low  # LMDB leaves this key out
        if keys[0] < low or any(map(ge, keys, keys[1:])) or (high is not None and keys[-1] >= high):
            raise self._damaged(page, "its keys are not in order")
        nodes = self._latest[height] = _Nodes(page, content, keys, places)
        return nodes

    def _value(self, content: bytes | mmap.mmap, size: int, flags: int, begin: int) -> bytes:
        return self._big_value(content, begin, size) if flags else content[begin : begin + size]

    def _big_value(self, content: bytes | mmap.mmap, begin: int, size: int) -> bytes:
        (page,) = _PAGE_NUMBER.unpack_from(content, begin)
        at = self._offset(page, 1)
        number, kind, count = _BIG_HEADER.unpack_from(self._map, at)
        if number != page or kind & _KINDS != _OVERFLOW:
            raise self._damaged(page, "another page stands in its place")
        if _BIG_HEADER.size + size > count * self._page_size:
            raise self._damaged(page, f"a value of {size:,} bytes does not fit into it")
        self._offset(page, count)
        return self._map[at + _BIG_HEADER.size : at + _BIG_HEADER.size + size]

    def _offset(self, page: int, count: int) -> int:
        """Return the offset in the file at which ``count`` pages begin, all of which must exist."""
        if not 1 < page <= page + count - 1 <= self._meta.last_page:
            raise self._damaged(page, f"there is no such page, the last is {self._meta.last_page}")
        self._require_pages(page + count)
        return page * self._page_size

    def _damaged(self, page: int, what: str) -> DataError:
        return DataError(f"the LMDB {self._file!r} is damaged at page {page}: {what}", hint=_AGAIN)

    def _not_a_record(self, page: int, key: bytes, flags: int) -> DataError:
        if flags != _NAMED:
            return self._damaged(page, f"a record has the flags {flags:#x}")
        return DataError(
            f"the LMDB {self._file!r} holds databases with names, as {key!r}, and no records of its own",
            hint="Caffe reads the one without a name: write the records there",
        )
