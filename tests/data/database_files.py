"""Databases for tests: real LMDBs made from records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.proto import caffe_pb2

Record = tuple[bytes, bytes]


def write_lmdb(path: Path, records: Iterable[Record], append: bool = False, **options: bool) -> Path:
    """Write an LMDB without a lock file, as if copied from elsewhere; the options are those of ``lmdb.open``."""
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(path), map_size=2**24, lock=False, sync=False, **options) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in records:
            transaction.put(key, value, append=append)
    return path


def datum(image: np.ndarray, label: int = 0) -> bytes:
    """Serialize a Datum of an image (C, H, W) of bytes or floats."""
    channels, height, width = image.shape
    message = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
    if image.dtype == np.uint8:
        message.data = image.tobytes()
    else:
        message.float_data.extend(image.ravel().tolist())
    return message.SerializeToString()


def random_images(count: int, shape: tuple[int, int, int] = (3, 6, 7), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def image_lmdb(folder: Path, images: Iterable[np.ndarray]) -> Path:
    """Write an LMDB of images under the keys 00000000, ...; each label is the number of its image."""
    return write_lmdb(folder, ((b"%08d" % i, datum(image, i)) for i, image in enumerate(images)))
