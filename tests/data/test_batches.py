"""Batches of images: small sources are decoded once, large ones again and again."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data import batches
from caffe_lite.data.batches import DatumBatches
from caffe_lite.data.databases.opening import open_database
from caffe_lite.data.transform import DataTransformer
from caffe_lite.errors import DataError
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import datum, image_lmdb, random_images, write_lmdb

IMAGES = random_images(5)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the records that are decoded."""
    values = []
    decode_datum = batches.decode_datum

    def noted(value: bytes, *choices: bool) -> batches.Decoded:
        values.append(value)
        return decode_datum(value, *choices)

    monkeypatch.setattr(batches, "decode_datum", noted)
    return values


def batches_of(path: Path, size: int) -> DatumBatches:
    database = open_database(str(path), caffe_pb2.DataParameter.LMDB)
    transformer = DataTransformer(caffe_pb2.TransformationParameter(), caffe_pb2.TRAIN)
    return DatumBatches(database, transformer, size, np.random.default_rng(0))


def two_rounds(folder: Path) -> np.ndarray:
    """Read every image of a small database twice."""
    source = batches_of(image_lmdb(folder / "lmdb", IMAGES), len(IMAGES))
    loaded = [source.load().arrays[0] for _ in range(2)]
    source.close()
    return np.stack(loaded)


def test_a_small_source_is_decoded_once(tmp_path: Path, decoded: list[bytes]) -> None:
    assert (two_rounds(tmp_path) == IMAGES).all()
    assert len(decoded) == len(IMAGES)


def test_nothing_is_kept_of_a_large_source(
    tmp_path: Path, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "KEPT", IMAGES.nbytes)
    assert (two_rounds(tmp_path) == IMAGES).all()
    assert len(decoded) == 2 * len(IMAGES)


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Treat every source as large; collect the names of the threads that decode it."""
    threads = set()
    decode_datum = batches.decode_datum

    def noted(value: bytes, *choices: bool) -> batches.Decoded:
        threads.add(threading.current_thread().name)
        return decode_datum(value, *choices)

    monkeypatch.setattr(batches, "decode_datum", noted)
    monkeypatch.setattr(batches, "KEPT", 0)
    monkeypatch.setattr(batches, "HEAVY", 1)
    return threads


def test_threads_decode_a_large_source_in_order(tmp_path: Path, heavy: set[str]) -> None:
    assert (two_rounds(tmp_path) == IMAGES).all()
    assert any(name.startswith("caffe_lite decode") for name in heavy)
    assert not any(thread.name.startswith("caffe_lite decode") for thread in threading.enumerate())


def test_of_several_bad_images_the_first_is_told(tmp_path: Path, heavy: set[str]) -> None:
    good = [(b"%d" % i, datum(IMAGES[0])) for i in range(4)]
    bad = [(b"%d" % i, b"no Datum") for i in range(4, 8)]
    source = batches_of(write_lmdb(tmp_path / "lmdb", [*good, *bad]), 4)
    source.load()
    with pytest.raises(DataError, match="record b'4' of the database"):
        source.load()
    source.close()
