"""How many threads can run at the same time."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The processor's cores that this process may use; where the system does not tell, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
