"""HDF5 files: written whole or not at all; read, though damaged or made to harm, in little time and memory."""

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
# Older ones crash over some damaged files, though not over any of the kind that Caffe writes.
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
# So many times smaller may filters make a chunk; what DEFLATE reaches at most.
_MOST_COMPRESSED = 1032
# So many bytes may a chunk hold without being looked at before it is unpacked.
_MOST_UNSEEN = 2**28
# What is read of a file: each of its bytes so many times, as names may share a dataset, and so many that it does not
# hold, of values never written.
_MOST_SHARED, _MOST_UNWRITTEN = 4, 2**20
_MOST_LINKS = 16
# What other filters may add to a chunk before DEFLATE packs it.
_HEAD = 2**12


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "read and write HDF5 files") from None
    return h5py


@contextmanager
def new_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """An h5py.File to fill, in memory; when the block ends well it becomes the file at ``path``.

    So the HDF5 library never meets a full disk, over which it crashes.
    """
    content = io.BytesIO()
    full = False
    try:
        with import_h5py().File(content, "w") as file:
            try:
                yield file
            except MemoryError:
                full = True  # over which h5py raises others as it closes the file
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
    """The file, for a block that does nothing but read from it; of ``content``, if a stream gave it."""
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


class Refused(Exception):
    """What is asked for is in another file, where HDF5 would follow."""


@functools.lru_cache
def _survive(path: str, _size: int, _time: float) -> None:
    """Raise if a process of its own, which reads all of a file, does not come to its end."""
    import subprocess

    # -I: a module in the current directory is not meant; where ours are is told instead.
    folders = [*filter(None, map(str, sys.path)), str(Path(__file__).parents[2])]
    command = [sys.executable, "-I", "-c", _READ_ALL, path, *folders]
    done = subprocess.run(command, capture_output=True, check=False)
    if b"survived" not in done.stdout:
        raise RuntimeError("the HDF5 library crashes over it")


def hdf5_name(name: str) -> str | bytes:
    """A name as h5py takes it, and is not UTF-8 in the file where it was none in the prototxt."""
    return to_bytes(name) if is_foreign(name) else name


class HDF5File:
    """A file to read: what it holds itself, and no more than its bytes can be.

    Links to other files and data stored in others are refused. Everything that is read counts against what the file
    has room for, before memory is taken for it.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size = file.id.get_filesize()
        self._room = _MOST_SHARED * self._size + _MOST_UNWRITTEN

    def find(self, path: str, group: Any = None) -> Any:
        """The h5py.Group or Dataset at a path, from a group if one is given; None if nothing is there."""
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
        """What the file holds, not looking into groups."""
        return [from_bytes(name) if isinstance(name, bytes) else name for name in self._file]

    def array(self, item: Any) -> np.ndarray:
        """All of a dataset of numbers that ``find`` gave, or that is at a path."""
        return np.asarray(self._read(item, "fiu", "array of numbers"))

    def text(self, path: str) -> bytes:
        """The string at a path, without the zero bytes behind it."""
        text = self._read(path, "SO", "text")
        if not isinstance(text, bytes):
            raise ValueError(f"{path} is no text")
        return text

    def groups_below(self, group: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """A group and those inside it, each with its name from the first one on and what else it holds, by name."""
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
        """Take what a dataset claims to hold from the room, if it is there."""
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
    """Refuse values that are in other files. The shape must not be asked for before: HDF5 may open them for it."""
    h5py = import_h5py()
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise Refused(f"the values of {dataset.name} are stored in other files")


def _require_chunks(dataset: Any, size: int, filters: list[int]) -> None:
    """Raise if a chunk unpacks to more than its size: HDF5 finds that out when it has unpacked all of it."""
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
    except zlib.error:  # HDF5 will tell, unless the chunk is stored as it is
        return False
    return size < 0
