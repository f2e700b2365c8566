"""The objects that pycaffe's scripts see: nets, their layers and blobs, and the names of its module."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Return Net, solvers, NCCL or Timer, which pycaffe has in this module, too."""
    if name in ("NCCL", "Net", "Timer") or name.endswith("Solver"):
        return getattr(import_module(__name__.rpartition(".")[0]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
