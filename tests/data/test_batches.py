"""Batches of images: what is decoded once, and what again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data import batches
from caffe_lite.data.batches import DatumBatches
from caffe_lite.data.database import open_database
from caffe_lite.data.transform import DataTransformer
from caffe_lite.proto import caffe_pb2
from tests.data.databases import image_lmdb, random_images

IMAGES = random_images(5)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The records that were decoded."""
    values = []
    decode_datum = batches.decode_datum

    def noted(value: bytes, *choices: bool) -> batches.Decoded:
        values.append(value)
        return decode_datum(value, *choices)

    monkeypatch.setattr(batches, "decode_datum", noted)
    return values


def two_rounds(folder: Path) -> np.ndarray:
    """Every image of a small database, twice."""
    database = open_database(str(image_lmdb(folder / "lmdb", IMAGES)), caffe_pb2.DataParameter.LMDB)
    transformer = DataTransformer(caffe_pb2.TransformationParameter(), caffe_pb2.TRAIN)
    source = DatumBatches(database, transformer, len(IMAGES), np.random.default_rng(0))
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
