"""Files that may be protobuf or HDF5; a stream (a pipe, standard input) is read once for both."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager
from typing import Any

from ..errors import CaffeError, Where
from .hdf5 import SIGNATURE, open_hdf5
from .paths import StrPath, read_file, system_path


class BinaryFile:
    """A file that is protobuf or HDF5, as its content tells. Raises if it does not exist or is empty.

    If the content is given, the path is only its name.
    """

    def __init__(self, path: StrPath, error_class: type[CaffeError], content: bytes | None = None) -> None:
        self.where = Where(os.fspath(path) or "''")
        self.error_class = error_class
        self.path = system_path(path, error_class)
        self._content = content
        try:
            if content is None and os.path.isfile(self.path):
                self.size = os.path.getsize(self.path)
                with open(self.path, "rb") as file:
                    head = file.read(len(SIGNATURE))
            else:
                self._content = read_file(self.path) if content is None else content
                self.size, head = len(self._content), self._content[: len(SIGNATURE)]
        except OSError as error:
            raise self._unreadable(error) from None
        if not head:
            raise error_class("the file is empty", where=self.where)
        self.is_hdf5 = head == SIGNATURE

    def read(self) -> bytes:
        try:
            return read_file(self.path) if self._content is None else self._content
        except OSError as error:
            raise self._unreadable(error) from None

    def open_hdf5(self) -> AbstractContextManager[Any]:
        """Open the file as an HDF5File, for a block that only reads from it."""
        content = None if self._content is None else io.BytesIO(self._content)
        return open_hdf5(self.where.file, self.error_class, content)

    def _unreadable(self, error: OSError) -> CaffeError:
        if isinstance(error, FileNotFoundError):
            return self.error_class("there is no such file", where=self.where, hint=f"Paths start from {os.getcwd()}")
        return self.error_class(f"cannot read it: {error.strerror}", where=self.where)
