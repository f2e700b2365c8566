"""How engines recycle memory: what a training iteration frees stays with the process, for the next one to use.

Fresh pages cost more than arithmetic. By default the C library maps every large array anew from the system and gives
it back when freed, so each pass pays for clearing its pages; glibc can be told to keep them. Where there is no glibc
(macOS, Windows, musl) nothing is changed: those allocators are slower or cleverer, never wrong.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

from ..logs.log import logger

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4

# No array is mapped on its own; the end of a heap is never given back; and heaps grow by as much as those of threads
# are large, without which glibc unmaps such a heap as soon as it is empty. How many heaps there are is left alone: one
# for all would keep less, but the other threads of a program would wait for each other at its lock.
_POLICY = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 << 20}
_GLIBC = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 << 10, _M_TOP_PAD: 128 << 10}

_wanted: bool | None = None
_in_force = False


def set_memory_recycling(wanted: bool | None) -> None:
    """Choose whether freed memory stays with the process, from the next net on; False also gives back now what is free.

    None goes back to CAFFE_LITE_RECYCLE_MEMORY: unless that is 0, it stays. The whole process is concerned. What other
    parts of a program free stays, too, to serve any array; no thread waits for another on its account.
    """
    global _wanted, _in_force
    _wanted = wanted
    if _in_force and not _is_wanted():
        _in_force = False
        _tell(_GLIBC)
        _of_c("malloc_trim")(ctypes.c_size_t(0))
        logger.info("The C library gives freed memory back to the system again")


def recycle_freed_memory() -> bool:
    """Keep freed memory from now on, if that is wanted; whether it is kept. Calling it again does nothing."""
    global _in_force
    if not _in_force and _is_wanted() and _tell(_POLICY):
        _in_force = True
        logger.info(
            "Memory that is freed stays with this process, for the arrays to come; "
            "CAFFE_LITE_RECYCLE_MEMORY=0 leaves the C library as it is"
        )
    return _in_force


def _is_wanted() -> bool:
    return os.environ.get("CAFFE_LITE_RECYCLE_MEMORY") != "0" if _wanted is None else _wanted


def _tell(options: dict[int, int]) -> bool:
    """Set glibc's options; whether it is there. Each call says 1 where it agrees."""
    mallopt = _of_c("mallopt")
    return mallopt is not None and all(mallopt(option, value) for option, value in options.items())


@functools.cache
def _of_c(name: str) -> Any:
    """A function of the C library, or None where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
