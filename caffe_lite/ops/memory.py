"""How engines recycle memory: what a training iteration frees stays with the process, for the next one to use.

Fresh pages cost more than arithmetic. By default the C library maps every large array anew from the system and gives
it back when freed, so each pass pays for clearing its pages; glibc can be told to keep them. Where there is no glibc
(macOS, Windows, musl) nothing is changed: those allocators are slower or cleverer, never wrong.
"""

from __future__ import annotations

import ctypes
import functools
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

_POLICY = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))


@functools.cache
def recycle_freed_memory() -> bool:
    """Keep freed memory in the process from now on; whether this C library can. Calling it again does nothing."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # No array is mapped on its own; the end of the heap is never given back; and there is one heap for all threads, or
    # each would keep what it freed from the others. Each call says 1 where it agrees.
    return all(mallopt(option, value) for option, value in _POLICY)
