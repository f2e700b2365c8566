"""Standard output that takes no more, because what read it has ended, or its disk is full."""

from __future__ import annotations

import errno
import os
import sys


def trouble_with(error: BaseException) -> str | None:
    """Return what to say of an error in writing to standard output; None if it is another error.

    There is nothing to say if whatever read the output has ended, as in ``caffe-lite summary net.prototxt | head``.
    """
    if isinstance(error, BrokenPipeError):
        return ""
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG):
        return f"cannot write to standard output: {error.strerror}."
    return None


def write_no_more() -> None:
    """Drop what standard output still holds; otherwise Python would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
