"""HDF5 files that grow by rows and are complete at every moment, for their readers and if their writer is killed."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import weakref
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .atomic import Part, is_locked, writing
from .hdf5 import import_h5py, new_hdf5

_PAGE = 2**16


class GrowingHDF5:
    """A file of datasets that get rows at the same time.

    HDF5 changes a file in many places when a dataset grows. So two files take turns at the path: the hidden one first
    gets the rows that it has missed, then the new rows, and takes the other's place. That needs twice the space on
    disk. If a file cannot have two names, or while somebody reads it, a copy is made instead.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._target = Path(os.path.realpath(path))
        self._hidden = contextlib.ExitStack()
        self._other: Part | None = None
        self._missed: dict[str, np.ndarray] = {}
        self._close = weakref.finalize(self, self._hidden.close)

    def append(self, arrays: dict[str, np.ndarray]) -> None:
        """Append rows to each dataset; the first call creates the file. Raise a CaffeError if it cannot be written."""
        if self.shapes:
            with writing(self.path):
                self._grow(arrays)
        else:
            with new_hdf5(self.path) as file:
                for name, array in arrays.items():
                    file.create_dataset(name, data=array, maxshape=(None, *array.shape[1:]))
        self._seen = self._identity()
        for name, array in arrays.items():
            self.shapes[name] = (self._rows(name) + len(array), *array.shape[1:])

    def close(self) -> None:
        """Remove the hidden file beside this one."""
        self._close()

    def _grow(self, arrays: dict[str, np.ndarray]) -> None:
        if self._identity() != self._seen:
            raise ValueError("another program has written to it or removed it")
        with contextlib.ExitStack() as stack:
            stack.push(self._hidden.pop_all())
            part = self._part(stack)
            with part.path.open("rb+") as stream:
                staged = _Staged(stream)
                with import_h5py().File(staged, "r+") as file:
                    for rows in (self._missed, arrays):
                        for name, array in rows.items():
                            begin = len(file[name])
                            file[name].resize(begin + len(array), axis=0)
                            file[name][begin:] = array
                staged.write_out()
            self._other = None
            with contextlib.suppress(OSError):
                self._other = Part(self._target, lambda path: os.link(self._target, path))
                self._hidden.callback(self._other.close)
            part.replace_target()
        self._missed = {name: np.array(array) for name, array in arrays.items()}

    def _part(self, stack: contextlib.ExitStack) -> Part:
        """Return the file whose turn it is. It lacks the missed rows; if it is a new copy, there are none."""
        if self._other is not None and self._other.path.exists() and not is_locked(self._other.path):
            return self._other
        self._missed = {}
        part = Part(self._target)
        stack.callback(part.close)
        shutil.copy(self._target, part.path)
        return part

    def _identity(self) -> tuple[int, ...]:
        with contextlib.suppress(OSError):
            status = self._target.stat()
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        return ()

    def _rows(self, name: str) -> int:
        return self.shapes.get(name, (0,))[0]


class _Staged(io.RawIOBase):
    """A file whose changes stay in memory until ``write_out``, so that the HDF5 library never meets a full disk."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._pages: dict[int, bytearray] = {}
        self._at = 0
        self._size = stream.seek(0, os.SEEK_END)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        return self._size

    def readinto(self, buffer: Any) -> int:
        done = 0
        wanted = min(len(buffer), max(0, self._size - self._at))
        while done < wanted:
            number, begin = divmod(self._at, _PAGE)
            count = min(_PAGE - begin, wanted - done)
            buffer[done : done + count] = memoryview(self._page(number))[begin : begin + count]
            done += count
            self._at += count
        return done

    def write(self, data: Any) -> int:
        done = 0
        while done < len(data):
            number, begin = divmod(self._at, _PAGE)
            count = min(_PAGE - begin, len(data) - done)
            page = self._pages.setdefault(number, self._page(number))
            page[begin : begin + count] = data[done : done + count]
            done += count
            self._at += count
        self._size = max(self._size, self._at)
        return done

    def write_out(self) -> None:
        for number, page in sorted(self._pages.items()):
            self._stream.seek(number * _PAGE)
            self._stream.write(memoryview(page)[: max(0, self._size - number * _PAGE)])
        self._stream.truncate(self._size)

    def _page(self, number: int) -> bytearray:
        if number in self._pages:
            return self._pages[number]
        self._stream.seek(number * _PAGE)
        return bytearray(self._stream.read(_PAGE).ljust(_PAGE, b"\0"))
