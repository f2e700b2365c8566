"""Reading HDF5 files that may be damaged: whatever is wrong, one error that says so, in little time and memory."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from .errors import CaffeError, MissingExtra, Where
from .files import system_path
from .foreign_bytes import from_bytes, is_foreign, to_bytes

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Older ones crash over some damaged files, though not over any of the kind that Caffe writes.
_NEVER_CRASHES = (2, 0, 0)
_READ_ALL = """
import contextlib, sys
sys.path[:] = sys.argv[2:]
with contextlib.suppress(Exception):
    import h5py
    from caffe_lite.hdf5 import groups_below, read_array
    with h5py.File(sys.argv[1], "r") as file:
        for _, _, datasets in groups_below(file):
            for dataset in datasets.values():
                with contextlib.suppress(Exception):
                    read_array(dataset)
print("survived")
"""
# Chunks may be compressed, by DEFLATE to a thousandth.
_MOST_COMPRESSED = 1040


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "read and write HDF5 files") from None
    return h5py


@contextmanager
def open_hdf5(
    path: str | os.PathLike[str], error_class: type[CaffeError], content: BinaryIO | None = None
) -> Iterator[Any]:
    """The h5py.File, for a block that does nothing but read from it; of ``content``, if a stream gave it."""
    h5py = import_h5py()
    name = system_path(path, error_class)
    try:
        if h5py.version.hdf5_version_tuple < _NEVER_CRASHES:
            with _on_disk(name, content) as there:
                _survive(os.path.realpath(there), os.path.getsize(there), os.path.getmtime(there))
        with h5py.File(content or name, "r") as file:
            yield file
    except CaffeError:
        raise
    except Exception as error:  # there is hardly an exception that h5py does not raise for one kind of damage
        what = f"the HDF5 file is damaged or cut short: {error or type(error).__name__}"
        raise error_class(what, where=Where(os.fspath(path))) from None


@contextmanager
def _on_disk(path: str, content: BinaryIO | None) -> Iterator[str]:
    """The path of a file that holds the content, if there is any."""
    if content is None:
        yield path
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "content.h5")
        with open(path, "wb") as file:
            file.write(content.read())
        yield path


@functools.lru_cache
def _survive(path: str, _size: int, _time: float) -> None:
    """Raise if a process of its own, which reads all of a file, does not come to its end."""
    import subprocess

    # -I: a module in the current directory is not meant; where ours are is told instead.
    folders = [*filter(None, map(str, sys.path)), os.path.dirname(os.path.dirname(__file__))]
    command = [sys.executable, "-I", "-c", _READ_ALL, path, *folders]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"survived" not in done.stdout:
        raise RuntimeError("the HDF5 library crashes over it")


def hdf5_name(name: str) -> str | bytes:
    """A name as h5py takes it, and is not UTF-8 in the file where it was none in the prototxt."""
    return to_bytes(name) if is_foreign(name) else name


def read_array(dataset: Any) -> np.ndarray:
    """All of a dataset of numbers; ValueError if it is none, or claims to be more than its file can hold."""
    if dataset is None:
        raise ValueError("a link in it leads nowhere")
    if not hasattr(dataset, "shape") or dataset.shape is None or dataset.dtype.kind not in "fiu":
        raise ValueError(f"{dataset.name} is no array of numbers")
    room = dataset.file.id.get_filesize() * (_MOST_COMPRESSED if dataset.chunks else 1)
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
        # h5py gives bytes where a name is not UTF-8.
        items = {from_bytes(name) if isinstance(name, bytes) else name: item for name, item in group.items()}
        groups = {name: item for name, item in items.items() if isinstance(item, h5py.Group)}
        yield prefix, group, {name: item for name, item in items.items() if name not in groups}
        waiting += [(f"{prefix}/{name}".lstrip("/"), groups[name]) for name in reversed(groups)]
