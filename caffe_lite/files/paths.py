"""Paths from prototxts, command lines and scripts: their form for the system, and reading the files there."""

from __future__ import annotations

import locale
import os
import re
import stat

from ..errors import CaffeError, Where
from ..text.foreign_bytes import from_bytes, is_foreign, to_bytes, with_surrogates

StrPath = str | os.PathLike[str]

# Streams that were open when we started. They can be read only once, but every net reads the weights again.
_INHERITED = re.compile(r"/dev/(stdin|fd/\d+)|/proc/self/fd/\d+")
_read_before: dict[tuple[int, int], bytes] = {}


def system_path(path: StrPath, error_class: type[CaffeError] = CaffeError, where: Where | None = None) -> str:
    """Return the path in the form for the system; raise if no file can have it.

    Bytes of a prototxt that are not UTF-8 stay the same bytes. On Windows, where names are characters, they are decoded
    with the system's legacy encoding, as in the original.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise error_class(f"there can be no such file: the path {text!r} holds a zero byte", where=where)
    if os.name == "nt" and is_foreign(text):
        return to_bytes(text).decode(locale.getpreferredencoding(False), "replace")
    return with_surrogates(text)


def library_path(path: str) -> str | bytes:
    """Return a system path for a library that takes no surrogates in place of bytes that are not UTF-8."""
    return path if os.name == "nt" or path.isascii() else os.fsencode(path)


def path_field(path: StrPath) -> str:
    """Return a system path in the form that a message can hold."""
    text = os.fspath(path)
    return text if text.isascii() else from_bytes(to_bytes(text))


def read_file(path: str) -> bytes:
    """Return the content of a file, or of a stream that was open when we started, even if it was read before."""
    status = os.stat(path)
    if not _INHERITED.fullmatch(path) or stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return file.read()
    stream = status.st_dev, status.st_ino
    if stream not in _read_before:
        with open(path, "rb") as file:
            _read_before[stream] = file.read()
    return _read_before[stream]
