"""Bilinear resizing, beside OpenCV's."""

import numpy as np
import pytest

from caffe_lite.media.bilinear import resize


def test_a_ramp_stays_a_ramp():
    ramp = np.arange(10, dtype="f")[None]
    np.testing.assert_allclose(resize(ramp, 1, 20)[0, 1:-1], np.arange(1, 19) / 2 - 0.25)
    np.testing.assert_array_equal(resize(np.uint8([[1, 2], [3, 5]]), 1, 1), [[3]])


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(
    ("old", "new"),
    [((20, 30), (7, 9)), ((20, 30), (10, 15)), ((33, 17), (120, 80)), ((1, 7), (3, 3)), ((9, 9), (9, 4))],
)
def test_it_is_as_opencvs(old, new, channels):
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(3).integers(0, 256, (*old, channels or 1), np.uint8)
    image = image if channels else image[..., 0]
    for values, within in ((image, 1), (image.astype("f"), 0.01)):
        found = resize(values, *new)
        assert found.dtype == values.dtype
        np.testing.assert_allclose(found.astype(float), cv2.resize(values, new[::-1]), atol=within)
