from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.data.databases.lmdb import LMDB
from caffe_lite.data.databases.writing import new_database
from caffe_lite.io import blobproto_to_array
from caffe_lite.proto.caffe_pb2 import BlobProto, Datum


@pytest.fixture
def mean(folder) -> np.ndarray:
    """Return the mean of the images in train_lmdb."""
    data = [Datum.FromString(value).data for _, value in LMDB(str(folder / "train_lmdb")).records()]
    return np.array([np.frombuffer(pixels, np.uint8) for pixels in data]).mean(0).reshape(1, 3, 4)


def lines(result) -> list[str]:
    return [line.split("] ", 1)[1] for line in result.stderr.splitlines()]


def test_a_mean_file(caffe, folder, mean):
    result = caffe("compute-image-mean", "train_lmdb", "mean.binaryproto")
    assert result.returncode == 0, result.stderr
    assert lines(result) == [
        "Opened lmdb train_lmdb",
        "Starting iteration",
        "Processed 24 files.",
        "Write to mean.binaryproto",
        "Number of channels: 1",
        f"mean_value channel [0]: {mean.mean():g}",
    ]
    blob = BlobProto.FromString((folder / "mean.binaryproto").read_bytes())
    np.testing.assert_allclose(blobproto_to_array(blob), mean[None], rtol=1e-6)


def test_of_a_leveldb_and_without_a_file(caffe, folder, mean):
    with new_database(str(folder / "train_leveldb"), "leveldb") as put:
        for key, value in LMDB(str(folder / "train_lmdb")).records():
            put(key, value)
    before = sorted(folder.iterdir())
    result = caffe("compute-image-mean", "-backend=leveldb", "train_leveldb")
    assert result.returncode == 0, result.stderr
    assert lines(result)[-1] == f"mean_value channel [0]: {mean.mean():g}"
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train_lmdb", "net.prototxt"], "caffe-lite: net.prototxt: it exists already"),
        (["no_lmdb"], "there is no database 'no_lmdb': looked for"),
        (["train_lmdb", "--backend=leveldb"], "or --backend=lmdb"),
        (["train_lmdb", "nowhere/mean.binaryproto"], "Make the folder first: mkdir -p"),
    ],
)
def test_errors(caffe, folder, words, message):
    net = (folder / "net.prototxt").read_bytes()
    result = caffe("compute-image-mean", *words)
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert (folder / "net.prototxt").read_bytes() == net
