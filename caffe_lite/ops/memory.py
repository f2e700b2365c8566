"""Recycling of memory: what a training iteration frees stays with the process, for the next one to use.

Fresh pages cost more than arithmetic. By default the C library maps each large array from the system and returns it
when it is freed, so every pass pays for clearing its pages; glibc can be told to keep them. Without glibc (macOS,
Windows, musl) nothing is changed: those allocators are slower or cleverer, never wrong.
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

# No array is mapped on its own, and the end of a heap is never returned. Heaps grow by the size of a thread's heap;
# otherwise glibc unmaps a thread's heap as soon as it is empty. The number of heaps is left alone: a single one would
# keep less memory, but the other threads of a program would wait for each other at its lock.
_POLICY = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 << 20}
_GLIBC = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 << 10, _M_TOP_PAD: 128 << 10}

_wanted: bool | None = None
_in_force = False


def set_memory_recycling(wanted: bool | None) -> None:
    """Choose whether freed memory stays with the process, from the next net on; False also returns what is free now.

    None restores the default: it stays unless CAFFE_LITE_RECYCLE_MEMORY is 0. This concerns the whole process: memory
    that other parts of a program free stays, too, and any array may use it. It makes no thread wait for another.
    """
    global _wanted, _in_force
    _wanted = wanted
    if _in_force and not _is_wanted():
        _in_force = False
        _tell(_GLIBC)
        _of_c("malloc_trim")(ctypes.c_size_t(0))
        logger.info("The C library gives freed memory back to the system again")


def recycle_freed_memory() -> bool:
    """Keep freed memory from now on, if that is wanted; return whether it is kept. A second call does nothing."""
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
    """Set glibc's options; return whether glibc is there. ``mallopt`` returns 1 if it accepts an option."""
    mallopt = _of_c("mallopt")
    return mallopt is not None and all(mallopt(option, value) for option, value in options.items())


@functools.cache
def _of_c(name: str) -> Any:
    """Return a function of the C library, or None without glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
