"""Datum records: raw, float and encoded ones, and their possible errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from caffe_lite.data.databases.datum import decode_datum
from caffe_lite.errors import DataError, MissingExtra
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import datum, random_images

IMAGE = random_images(1, (3, 5, 4))[0]


def encoded(image: np.ndarray, extension: str = ".png") -> bytes:
    """Encode an image of shape (C, H, W), with channels in the order B, G, R."""
    cv2 = pytest.importorskip("cv2")
    ok, data = cv2.imencode(extension, image.transpose(1, 2, 0))
    assert ok
    return caffe_pb2.Datum(encoded=True, data=data.tobytes(), label=3).SerializeToString()


def test_bytes() -> None:
    image, label = decode_datum(datum(IMAGE, 7))
    assert image.dtype == np.uint8
    assert (image == IMAGE).all()
    assert label == 7


def test_floats() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    image, _ = decode_datum(datum(values))
    assert image.dtype == np.float32
    assert (image == values).all()


def test_bytes_come_before_floats() -> None:
    both = caffe_pb2.Datum(channels=1, height=1, width=2, data=b"\x01\xff", float_data=[5, 6])
    assert decode_datum(both.SerializeToString())[0].tolist() == [[[1, 255]]]


def test_a_label_may_be_missing_or_negative() -> None:
    assert decode_datum(caffe_pb2.Datum(channels=1, height=1, width=1, data=b"a").SerializeToString())[1] == 0
    assert decode_datum(datum(IMAGE, -1))[1] == -1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_encoded_image_keeps_its_channels(channels: int) -> None:
    image = random_images(1, (channels, 5, 4))[0]
    decoded, label = decode_datum(encoded(image))
    assert (decoded == image).all()
    assert label == 3


def test_force_color_and_force_gray() -> None:
    grey = random_images(1, (1, 5, 4))[0]
    assert (decode_datum(encoded(grey), force_color=True)[0] == np.repeat(grey, 3, 0)).all()
    flat = np.full((3, 5, 4), 0, np.uint8)
    flat[2] = 255  # red
    assert (decode_datum(encoded(flat), force_gray=True)[0] == np.full((1, 5, 4), 76)).all()
    with pytest.raises(DataError, match="exclude each other"):
        decode_datum(encoded(grey), True, True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff\xff\xff", "it is not a Datum"),
        (b"", "it is not an image: channels, height, width are (0, 0, 0)"),
        (caffe_pb2.Datum(channels=1, height=-2, width=-2, data=b"abcd").SerializeToString(), "(1, -2, -2)"),
        (
            caffe_pb2.Datum(channels=3, height=2, width=2, data=b"abc").SerializeToString(),
            "it has 3 values, but channels, height, width are (3, 2, 2)",
        ),
        (caffe_pb2.Datum(channels=1, height=1, width=1).SerializeToString(), "it has 0 values"),
        (caffe_pb2.Datum(channels=1, height=1, width=1, float_data=[1, 2]).SerializeToString(), "it has 2 values"),
        (caffe_pb2.Datum(encoded=True).SerializeToString(), "OpenCV cannot decode its image"),
        (caffe_pb2.Datum(encoded=True, data=b"no image").SerializeToString(), "OpenCV cannot decode its image"),
        (encoded(IMAGE)[:40], "not a Datum"),
        (encoded(random_images(1, (1, 5, 4))[0].astype(np.uint16)), "values of type uint16"),
    ],
)
def test_errors(value: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        decode_datum(value)
    assert message in str(caught.value)


def test_without_opencv_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    value = encoded(IMAGE)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[data\]'"):
        decode_datum(value)
    assert (decode_datum(datum(IMAGE))[0] == IMAGE).all()
