"""Reading HDF5 files that may be damaged: whatever is wrong, one error that says so, in little time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import CaffeError, MissingExtra, Where

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Chunks may be compressed, by DEFLATE to a thousandth.
_MOST_COMPRESSED = 1040


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "read and write HDF5 files") from None
    return h5py


@contextmanager
def open_hdf5(path: str | os.PathLike[str], error_class: type[CaffeError]) -> Iterator[Any]:
    """The h5py.File, for a block that does nothing but read from it."""
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except CaffeError:
        raise
    except Exception as error:  # there is hardly an exception that h5py does not raise for one kind of damage
        what = f"the HDF5 file is damaged or cut short: {error or type(error).__name__}"
        raise error_class(what, where=Where(os.fspath(path))) from None


def read_array(dataset: Any) -> np.ndarray:
    """All of a dataset of numbers; ValueError if it is none, or claims to be more than its file can hold."""
    if getattr(dataset, "shape", None) is None or dataset.dtype.kind not in "fiu":
        raise ValueError(f"{dataset.name} is no array of numbers")
    room = os.path.getsize(dataset.file.filename) * (_MOST_COMPRESSED if dataset.chunks else 1)
    if dataset.nbytes > room:
        raise ValueError(f"{dataset.name} of the shape {dataset.shape} is larger than the file")
    return np.asarray(dataset[()])


def groups_below(group: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """A group and those inside it, each with its name from the first one on and with what else it holds, by name."""
    h5py = import_h5py()
    seen = set()
    waiting = [("", group)]
    while waiting:
        prefix, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise ValueError(f"the group {group.name} contains itself")
        seen.add(address)
        groups = {name: item for name, item in group.items() if isinstance(item, h5py.Group)}
        yield prefix, group, {name: item for name, item in group.items() if name not in groups}
        waiting += [(f"{prefix}/{name}".lstrip("/"), groups[name]) for name in reversed(groups)]
