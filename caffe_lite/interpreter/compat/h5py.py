"""h5py: `dataset.value`, and files opened without a mode: for reading and, if possible, writing."""

from __future__ import annotations

import os
from typing import Any

from ..imports import watch
from .names import say

PREVENTED = (r"AttributeError: 'Dataset' object has no attribute 'value'",)


def install() -> None:
    watch("h5py", _patch)


def _patch(h5py: Any) -> None:
    if not hasattr(h5py.Dataset, "value"):
        h5py.Dataset.value = property(_value)
    start = h5py.File.__init__

    def __init__(self: Any, name: Any, mode: str | None = None, *args: object, **kw: object) -> None:
        if mode is None and isinstance(name, (str, bytes, os.PathLike)):
            mode = "r" if os.path.exists(name) and not os.access(name, os.W_OK) else "a"
            say("h5py.File without a mode", 'h5py.File(file, "r"), or "w", or "a"')
        start(self, name, mode, *args, **kw)

    h5py.File.__init__ = __init__


def _value(dataset: Any) -> Any:
    say("h5py's dataset.value", "dataset[()]")
    return dataset[()]
