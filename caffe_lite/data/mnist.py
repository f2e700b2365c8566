"""The IDX files of MNIST and its kin, turned into an LMDB."""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import zlib
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import DataError, MissingExtra, Where
from ..log import logger
from ..proto import caffe_pb2

_GZIP = b"\x1f\x8b"
# What a record takes beyond its pixels: its key, the other fields of the Datum, the headers of LMDB.
_RECORD_OVERHEAD = 80


class _Kind(NamedTuple):
    name: str
    magic: int
    num_axes: int


_IMAGES = _Kind("images", 2051, 3)
_LABELS = _Kind("labels", 2049, 1)
_KINDS = {kind.magic: kind for kind in (_IMAGES, _LABELS)}


def convert_mnist(images: str, labels: str, out: str, *, limit: int | None = None, seed: int | None = None) -> int:
    """Write images and labels (IDX files, gzipped or not) as an LMDB of Datum records; returns how many there are.

    The keys are "00000000", "00000001", ..., as the original's convert_mnist_data makes them. ``seed`` shuffles the
    images, ``limit`` then takes the first so many. The database appears at ``out`` when it is complete, without a lock
    file; whatever is there already stays as it is.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}", hint="Give a limit of at least 1, or none")
    if seed is not None and seed < 0:
        raise DataError(f"the seed is {seed}", hint="Give a seed of at least 0, or none")
    if os.path.lexists(out):
        raise DataError("it exists already", where=Where(out), hint="Remove it, or choose another name")
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
    parent = os.path.dirname(os.path.abspath(out))
    part = f"{os.path.abspath(out)}.{secrets.token_hex(6)}.tmp"
    try:
        os.mkdir(part)
        _write_lmdb(part, pixels, classes, order)
        os.rename(part, out)
    except OSError as error:
        raise DataError(
            f"cannot write it: {error.strerror or error}",
            where=Where(out),
            hint="" if os.path.isdir(parent) else f"Make the folder first: mkdir -p {parent}",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    logger.info("Processed %d files.", len(order))
    return len(order)


def _read_idx(path: str, kind: _Kind) -> np.ndarray:
    """The array in an IDX file: a magic number, the length of each axis, the bytes."""
    place = Where(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"its gzip stream is broken: {error}", where=place, hint="Download it again") from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}", where=place) from error
    magic = int.from_bytes(content[:4], "big")
    if magic != kind.magic:
        other = _KINDS.get(magic)
        raise DataError(
            f"it is not an IDX file of {kind.name}: it begins with {magic}, not {kind.magic}",
            where=place,
            hint=f"It holds {other.name}: give the images first, then the labels" if other else "",
        )
    start = 4 + 4 * kind.num_axes
    shape = tuple(np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist())
    needed = start + prod(shape)
    if len(content) < needed:
        raise DataError(f"it is cut short: {len(content):,} bytes of {needed:,}", where=place, hint="Download it again")
    return np.frombuffer(content, np.uint8, prod(shape), start).reshape(shape)


def _write_lmdb(folder: str, pixels: np.ndarray, classes: np.ndarray, order: np.ndarray) -> None:
    try:
        import lmdb
    except ImportError:
        raise MissingExtra("lmdb", "data", "write LMDB databases") from None
    _, height, width = pixels.shape
    # Pages are at least half full; on Windows the file is as large as the map.
    map_size = 2 * len(order) * (height * width + _RECORD_OVERHEAD) + 2**20
    datum = caffe_pb2.Datum(channels=1, height=height, width=width)
    with lmdb.open(folder, map_size=map_size, lock=False) as environment, environment.begin(write=True) as transaction:
        for i, at in enumerate(order.tolist()):
            datum.data = pixels[at].tobytes()
            datum.label = int(classes[at])
            transaction.put(b"%08d" % i, datum.SerializeToString(), append=True)
