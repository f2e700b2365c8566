"""HDF5 files: written whole or not at all; read in little time and memory, even if they are damaged or hostile."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import CaffeError, MissingExtra, Where
from ..text.foreign_bytes import from_bytes, is_foreign, to_bytes
from .atomic import atomic_write
from .paths import system_path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Older versions of the library crash over some damaged files, but not over damaged files of the kind Caffe writes.
_NEVER_CRASHES = (2, 0, 0)
_READ_ALL = """
import contextlib, sys
sys.path[:] = sys.argv[2:]
with contextlib.suppress(Exception):
    import h5py
    from caffe_lite.files.hdf5 import HDF5File
    with h5py.File(sys.argv[1], "r") as opened:
        file = HDF5File(opened)
        for _, _, datasets in file.groups_below(opened):
            for dataset in datasets.values():
                with contextlib.suppress(Exception):
                    file.array(dataset)
print("survived")
"""
# Filters may make a chunk at most this many times smaller: the most that DEFLATE reaches.
_MOST_COMPRESSED = 1032
# A chunk that may hold more bytes than this is looked at before it is unpacked.
_MOST_UNSEEN = 2**28
# How much may be read from a file: each of its bytes this many times, because names may share a dataset, and this many
# bytes that it does not hold, for values that were never written.
_MOST_SHARED, _MOST_UNWRITTEN = 4, 2**20
_MOST_LINKS = 16
# Other filters may add this many bytes to a chunk before DEFLATE packs it.
_HEAD = 2**12


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "read and write HDF5 files") from None
    return h5py


@contextmanager
def new_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Give an h5py.File in memory to fill; it becomes the file at ``path`` if the block succeeds.

    So the HDF5 library never meets a full disk, which makes it crash.
    """
    content = io.BytesIO()
    full = False
    try:
        with import_h5py().File(content, "w") as file:
            try:
                yield file
            except MemoryError:
                full = True  # h5py raises other exceptions over it when it closes the file
                raise
    except Exception:
        if not full:
            raise
        raise CaffeError(
            "there is not the memory to make this HDF5 file",
            where=Where(os.fspath(path)),
            hint="It takes as much as the file has bytes",
        ) from None
    with atomic_write(path) as part:
        part.write_bytes(content.getbuffer())


@contextmanager
def open_hdf5(
    path: str | os.PathLike[str], error_class: type[CaffeError], content: BinaryIO | None = None
) -> Iterator[HDF5File]:
    """Open the file for a block that only reads from it. ``content`` is its content if that came from a stream."""
    h5py = import_h5py()
    name = system_path(path, error_class)
    try:
        if h5py.version.hdf5_version_tuple < _NEVER_CRASHES:
            with _on_disk(name, content) as there:
                _survive(os.path.realpath(there), os.path.getsize(there), os.path.getmtime(there))
        with h5py.File(content or name, "r") as file:
            yield HDF5File(file)
    except CaffeError:
        raise
    except Refused as refused:
        hint = "Only what a file holds itself is read: load it all with h5py and write it into one new file"
        raise error_class(str(refused), where=Where(os.fspath(path)), hint=hint) from None
    except Exception as error:  # h5py raises almost every exception, depending on the damage
        what = f"the HDF5 file is damaged or cut short: {error or type(error).__name__}"
        raise error_class(what, where=Where(os.fspath(path))) from None


@contextmanager
def _on_disk(path: str, content: BinaryIO | None) -> Iterator[str]:
    """Give the path of a temporary file that holds the content, or ``path`` itself if there is no content."""
    if content is None:
        yield path
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "content.h5")
        with open(path, "wb") as file:
            file.write(content.read())
        yield path


class Refused(Exception):
    """A group or dataset is in another file, which HDF5 would open."""


@functools.lru_cache
def _survive(path: str, _size: int, _time: float) -> None:
    """Read all of a file in a separate process, and raise if that process crashes."""
    import subprocess

    # -I, so that no module in the current directory is imported; the paths of ours are given instead.
    folders = [*filter(None, map(str, sys.path)), str(Path(__file__).parents[2])]
    command = [sys.executable, "-I", "-c", _READ_ALL, path, *folders]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"survived" not in done.stdout:
        raise RuntimeError("the HDF5 library crashes over it")


def hdf5_name(name: str) -> str | bytes:
    """Return a name for h5py: as bytes if it is not UTF-8 in the prototxt, so that the file has the same bytes."""
    return to_bytes(name) if is_foreign(name) else name


class HDF5File:
    """An HDF5 file to read: only what it holds itself, and no more than its size allows.

    Links to other files and data stored in other files are refused. Whatever is read counts against the room that the
    file's size gives, before memory is taken for it.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size = file.id.get_filesize()
        self._room = _MOST_SHARED * self._size + _MOST_UNWRITTEN

    def find(self, path: str, group: Any = None) -> Any:
        """Return the h5py.Group or Dataset at a path, relative to a group if one is given; None if nothing is there."""
        h5py = import_h5py()
        found = self._file if group is None or path.startswith("/") else group
        links = 0
        names = path.split("/")[::-1]
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            key = to_bytes(name)
            if not isinstance(found, h5py.Group) or not found.id.links.exists(key):
                return None
            kind = found.id.links.get_info(key).type
            if kind == h5py.h5l.TYPE_HARD:
                found = found[key]
                continue
            place = f"{found.name.rstrip('/')}/{name}"
            if kind != h5py.h5l.TYPE_SOFT:
                raise Refused(f"{place} is a link to another file")
            if links == _MOST_LINKS:
                raise ValueError(f"{place} is a link to too many others")
            links += 1
            target = from_bytes(found.id.links.get_val(key))
            names += target.split("/")[::-1]
            if target.startswith("/"):
                found = self._file
        if isinstance(found, h5py.Dataset):
            _require_here(found)
        return found

    def names(self) -> list[str]:
        """Return the names of the file's top-level members."""
        return [from_bytes(name) if isinstance(name, bytes) else name for name in self._file]

    def array(self, item: Any) -> np.ndarray:
        """Return all values of a dataset of numbers, given as ``find`` returns it or by its path."""
        return np.asarray(self._read(item, "fiu", "array of numbers"))

    def text(self, path: str) -> bytes:
        """Return the string at a path, without trailing zero bytes."""
        text = self._read(path, "SO", "text")
        if not isinstance(text, bytes):
            raise ValueError(f"{path} is no text")
        return text

    def groups_below(self, group: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Yield a group and all groups inside it, each with its path from the first and its other members by name."""
        h5py = import_h5py()
        seen = set()
        waiting = [("", group)]
        while waiting:
            prefix, group = waiting.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:
                raise ValueError(f"the group {group.name} contains itself")
            seen.add(address)
            # h5py gives bytes if a name is not UTF-8.
            names = [from_bytes(name) if isinstance(name, bytes) else name for name in group]
            items = {name: self.find(name, group) for name in names}
            groups = {name: item for name, item in items.items() if isinstance(item, h5py.Group)}
            yield prefix, group, {name: item for name, item in items.items() if name not in groups}
            waiting += [(f"{prefix}/{name}".lstrip("/"), groups[name]) for name in reversed(groups)]

    def _read(self, item: Any, kinds: str, wanted: str) -> Any:
        dataset = self.find(item) if isinstance(item, str) else item
        if dataset is None:
            raise ValueError(f"there is no {item}" if item else "a link in it leads nowhere")
        if not hasattr(dataset, "shape") or dataset.shape is None or dataset.dtype.kind not in kinds:
            raise ValueError(f"{dataset.name} is no {wanted}")
        self._require_room(dataset)
        return dataset[()]

    def _require_room(self, dataset: Any) -> None:
        """Subtract what a dataset claims to hold from the room that is left, and raise if it does not fit."""
        stored = min(dataset.id.get_storage_size(), self._size)
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        claimed, most = dataset.nbytes, stored
        if filters:
            chunk = prod(dataset.chunks) * dataset.dtype.itemsize
            claimed, most = max(claimed, chunk), stored * _MOST_COMPRESSED
        self._room -= stored + max(0, claimed - most)
        if self._room < 0:
            raise ValueError(f"{dataset.name} of the shape {dataset.shape} is larger than the file")
        if filters and most > _MOST_UNSEEN:
            _require_chunks(dataset, chunk, filters)


def _require_here(dataset: Any) -> None:
    """Refuse values that are in other files. Call it before asking for the shape, for which HDF5 may open them."""
    h5py = import_h5py()
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise Refused(f"the values of {dataset.name} are stored in other files")


def _require_chunks(dataset: Any, size: int, filters: list[int]) -> None:
    """Raise if a chunk unpacks to more than its size. HDF5 notices only after it has unpacked all of it."""
    h5py = import_h5py()
    packing = [number for number in filters if number not in (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)]
    deflates = packing.count(h5py.h5z.FILTER_DEFLATE)
    if deflates and (deflates > 1 or packing[-1] != h5py.h5z.FILTER_DEFLATE):
        raise ValueError(f"{dataset.name} is compressed more than once")
    chunks: list[Any] = []
    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(chunks.append)
    else:
        chunks += [dataset.id.get_chunk_info(index) for index in range(dataset.id.get_num_chunks())]
    for chunk in chunks:
        if chunk.size * _MOST_COMPRESSED > _MOST_UNSEEN and (
            chunk.size > 2 * size
            or (deflates and _unpacks_to_more(dataset.id.read_direct_chunk(chunk.chunk_offset)[1], size + _HEAD))
        ):
            raise ValueError(f"a chunk of {dataset.name} holds more than its {size:,} bytes")


def _unpacks_to_more(data: bytes, size: int) -> bool:
    import zlib

    stream = zlib.decompressobj()
    try:
        while data and not stream.eof and size >= 0:
            size -= len(stream.decompress(data, 2**20))
            data = stream.unconsumed_tail
    except zlib.error:  # HDF5 will report it, unless the chunk is stored uncompressed
        return False
    return size < 0
