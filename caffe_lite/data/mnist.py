"""The IDX files of MNIST and similar data sets, turned into a database."""

from __future__ import annotations

import gzip
import io
import zlib
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import DataError, Where
from ..files.paths import system_path
from ..logs.log import logger
from ..proto import caffe_pb2
from .databases.writing import new_database, refuse_existing

_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_Stream = gzip.GzipFile | io.BufferedReader


class _Kind(NamedTuple):
    name: str
    magic: int
    num_axes: int


_IMAGES = _Kind("images", 2051, 3)
_LABELS = _Kind("labels", 2049, 1)
_KINDS = {kind.magic: kind for kind in (_IMAGES, _LABELS)}


def convert_mnist(
    images: str, labels: str, out: str, *, limit: int | None = None, seed: int | None = None, backend: str = "lmdb"
) -> int:
    """Write images and labels (IDX files, gzipped or not) as a database of Datum records; return the number of records.

    The keys are "00000000", "00000001", ..., as the original's convert_mnist_data makes them. ``seed`` shuffles the
    images; ``limit`` then takes that many from the start. The database appears at ``out`` once it is complete, without
    a lock file; anything that already exists there stays as it is.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}", hint="Give a limit of at least 1, or none")
    if seed is not None and seed < 0:
        raise DataError(f"the seed is {seed}", hint="Give a seed of at least 0, or none")
    refuse_existing(out)
    pixels = _read_idx(images, _IMAGES)
    classes = _read_idx(labels, _LABELS)
    if len(pixels) != len(classes):
        raise DataError(
            f"{images!r} holds {len(pixels)} images, {labels!r} holds {len(classes)} labels",
            hint="Give the two files of one set",
        )
    if not pixels.size:
        raise DataError("there are no images in it", where=Where(images))
    order = np.arange(len(pixels)) if seed is None else np.random.default_rng(seed).permutation(len(pixels))
    order = order[:limit]
    logger.info("A total of %d items.", len(order))
    logger.info("Rows: %d Cols: %d", *pixels.shape[1:])
    datum = caffe_pb2.Datum(channels=1, height=pixels.shape[1], width=pixels.shape[2])
    with new_database(out, backend) as put:
        for i, at in enumerate(order.tolist()):
            datum.data = pixels[at].tobytes()
            datum.label = int(classes[at])
            put(b"%08d" % i, datum.SerializeToString())
    logger.info("Processed %d files.", len(order))
    return len(order)


def _read_idx(path: str, kind: _Kind) -> np.ndarray:
    """Read the array in an IDX file: a magic number, the length of each axis, the bytes. Nothing after it is read."""
    place = Where(path)
    try:
        with open(system_path(path, DataError), "rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as stream:
                return _read_array(stream, kind, place)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"its gzip stream is broken: {error}", where=place, hint="Download it again") from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}", where=place) from error


def _read_array(stream: _Stream, kind: _Kind, place: Where) -> np.ndarray:
    content = bytearray()
    _fill(content, stream, _PIECE)
    magic = int.from_bytes(content[:4], "big")
    if magic != kind.magic:
        other = _KINDS.get(magic)
        raise DataError(
            f"it is not an IDX file of {kind.name}: it begins with {magic}, not {kind.magic}",
            where=place,
            hint=f"It holds {other.name}: give the images first, then the labels" if other else "",
        )
    start = 4 + 4 * kind.num_axes
    shape = tuple(np.frombuffer(bytes(content[4:start]).ljust(start - 4, b"\0"), ">u4").tolist())
    needed = start + prod(shape)
    _fill(content, stream, needed + 1)
    if len(content) < needed:
        raise DataError(f"it is cut short: {len(content):,} bytes of {needed:,}", where=place, hint="Download it again")
    if len(content) > needed:
        raise DataError(
            f"it goes on behind the {needed:,} bytes of its {shape[0]:,} {kind.name}",
            where=place,
            hint="It is damaged, or was made wrongly: download it again",
        )
    return np.frombuffer(content, np.uint8, prod(shape), start).reshape(shape)


def _fill(content: bytearray, stream: _Stream, size: int) -> None:
    """Read until there are ``size`` bytes, or no more; bytes that the stream lacks take no memory."""
    while len(content) < size and (piece := stream.read(min(size - len(content), _PIECE))):
        content += piece
