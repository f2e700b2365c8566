from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from caffe_lite.proto.caffe_pb2 import Datum

lmdb = pytest.importorskip("lmdb")


@pytest.fixture
def images(folder) -> np.ndarray:
    """Write nine images of 2 x 3 pixels to ``images.gz`` and their labels, 0 to 8, to ``labels``."""
    pixels = np.arange(54, dtype=np.uint8).reshape(9, 2, 3)
    with gzip.open(folder / "images.gz", "wb") as file:
        file.write(struct.pack(">4I", 2051, 9, 2, 3) + pixels.tobytes())
    (folder / "labels").write_bytes(struct.pack(">2I", 2049, 9) + bytes(range(9)))
    return pixels


def records(path) -> list[tuple[int, np.ndarray]]:
    with lmdb.open(str(path), readonly=True, lock=False) as database, database.begin() as transaction:
        data = [Datum.FromString(value) for _, value in transaction.cursor()]
    return [(d.label, np.frombuffer(d.data, np.uint8).reshape(d.channels, d.height, d.width)) for d in data]


def test_every_image_in_order(caffe, folder, images):
    result = caffe("convert-mnist", "images.gz", "labels", "out_lmdb")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Wrote 9 images to out_lmdb\n"
    written = records(folder / "out_lmdb")
    assert [label for label, _ in written] == list(range(9))
    np.testing.assert_array_equal([image[0] for _, image in written], images)


def test_some_of_them_shuffled(caffe, folder, images):
    for out in ("a", "b"):
        assert caffe("convert-mnist", "images.gz", "labels", out, "--limit", "5", "-seed=3").returncode == 0
    written = records(folder / "a")
    assert [label for label, _ in written] == [label for label, _ in records(folder / "b")]
    assert len({label for label, _ in written}) == 5
    assert sorted(label for label, _ in written) != [label for label, _ in written]
    for label, image in written:
        np.testing.assert_array_equal(image[0], images[label])


def test_a_database_that_is_there_stays(caffe, folder, images):
    before = (folder / "train_lmdb" / "data.mdb").read_bytes()
    result = caffe("convert-mnist", "images.gz", "labels", "train_lmdb")
    assert result.returncode == 1
    assert result.stderr.startswith("caffe-lite: train_lmdb: it exists already")
    assert (folder / "train_lmdb" / "data.mdb").read_bytes() == before
