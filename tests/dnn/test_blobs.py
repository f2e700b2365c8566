"""Blobs from images: without OpenCV the same as with it, but for the rounding of its fastest code."""

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import CaffeError

RNG = np.random.default_rng(1)
IMAGE = RNG.integers(0, 256, (30, 40, 3), np.uint8)


@pytest.fixture
def without_cv2(monkeypatch):
    monkeypatch.setattr("caffe_lite.dnn.blobs.is_installed", lambda package: False)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (IMAGE, {}),
        (IMAGE, {"scalefactor": 0.5, "mean": (104, 117, 123), "swapRB": True}),
        (IMAGE, {"size": (20, 15)}),
        (IMAGE, {"size": (27, 18), "mean": 10.0}),
        (IMAGE, {"size": (17, 25), "crop": True}),
        (IMAGE, {"size": (50, 60), "crop": True, "swapRB": True}),
        (IMAGE[:, :, 0], {"size": (33, 22), "scalefactor": 1 / 255}),
        (IMAGE.astype("f"), {"size": (33, 22)}),
        (np.dstack([IMAGE, IMAGE[:, :, 0]]), {"mean": (1, 2, 3, 4), "swapRB": True}),
        (IMAGE, {"ddepth": 0, "swapRB": True}),
    ],
)
def test_without_opencv_they_are_the_same(image, options, monkeypatch):
    pytest.importorskip("cv2")
    wanted = dnn.blobFromImage(image, **options)
    monkeypatch.setattr("caffe_lite.dnn.blobs.is_installed", lambda package: False)
    found = dnn.blobFromImage(image, **options)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=1.001 * options.get("scalefactor", 1) * bool(options.get("size")))


def test_several_images(without_cv2):
    blob = dnn.blobFromImages([IMAGE, IMAGE[::-1]], 2.0, mean=(1, 2, 3))
    assert blob.shape == (2, 3, 30, 40)
    np.testing.assert_array_equal(blob[1, 2], 2 * (IMAGE[::-1, :, 2] - np.float32(3)))


def test_images_from_a_blob():
    images = dnn.imagesFromBlob(dnn.blobFromImages([IMAGE, IMAGE[::-1]]))
    np.testing.assert_array_equal(images[1], IMAGE[::-1])
    assert dnn.imagesFromBlob(dnn.blobFromImage(IMAGE[:, :, 0]))[0].shape == (30, 40)


def test_what_is_refused(without_cv2):
    with pytest.raises(CaffeError, match="a blob of bytes takes no scalefactor"):
        dnn.blobFromImage(IMAGE, 2.0, ddepth=0)
    with pytest.raises(CaffeError, match="It has 1, 3 or 4 channels"):
        dnn.blobFromImage(IMAGE[:, :, :2])
    with pytest.raises(CaffeError, match="It needs four axes"):
        dnn.imagesFromBlob(IMAGE)
