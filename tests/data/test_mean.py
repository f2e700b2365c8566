"""The mean image of a database, and the file it is written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.databases.lmdb import LMDB
from caffe_lite.data.mean import mean_image, write_mean
from caffe_lite.data.transform import DataTransformer
from caffe_lite.errors import DataError
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import datum, image_lmdb, random_images, write_lmdb

GOLDEN = Path(__file__).parents[1] / "golden" / "data"


def test_the_originals_mean() -> None:
    recorded = caffe_pb2.BlobProto.FromString((GOLDEN / "mean.binaryproto").read_bytes())
    mean = mean_image(LMDB(str(GOLDEN / "raw_lmdb")))
    assert mean.dtype == np.float32
    assert mean.shape == (recorded.channels, recorded.height, recorded.width)
    np.testing.assert_allclose(mean.ravel(), recorded.data, rtol=1e-6)


@pytest.mark.parametrize("floats", [False, True])
def test_mean(tmp_path: Path, floats: bool) -> None:
    images = random_images(50)
    images = (images / 7).astype(np.float32) if floats else images
    mean = mean_image(LMDB(str(image_lmdb(tmp_path / "db", images))))
    np.testing.assert_allclose(mean, images.mean(0, dtype=float), rtol=1e-6)


def test_of_encoded_images(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    images = random_images(5)
    png = [cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes() for image in images]
    records = [(b"%d" % i, caffe_pb2.Datum(encoded=True, data=data).SerializeToString()) for i, data in enumerate(png)]
    mean = mean_image(LMDB(str(write_lmdb(tmp_path / "db", records))))
    np.testing.assert_allclose(mean, images.mean(0), rtol=1e-6)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    mean = random_images(1)[0] / np.float32(3)
    path = tmp_path / "mean.binaryproto"
    write_mean(mean, str(path))
    blob = caffe_pb2.BlobProto.FromString(path.read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 6, 7)
    assert not blob.HasField("shape")
    param = caffe_pb2.TransformationParameter(mean_file=str(path))
    transformed = DataTransformer(param, caffe_pb2.TEST)([np.zeros_like(mean)], np.random.default_rng(0))
    assert (transformed[0] == -mean).all()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (datum(random_images(1, (3, 6, 8))[0]), r"its image is 3 x 6 x 8 \(C x H x W\), those before 3 x 6 x 7\. Make"),
        (b"\xff", "it is not a Datum"),
    ],
)
def test_records_that_do_not_fit(tmp_path: Path, record: bytes, message: str) -> None:
    records = [(b"a", datum(random_images(1)[0])), (b"b", record)]
    with pytest.raises(DataError, match=rf"record b'b' of the database .* cannot be used: {message}"):
        mean_image(LMDB(str(write_lmdb(tmp_path / "db", records))))
