"""Labels in images: gray values, indices of palettes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lite.data.images.label_image import decode_label_image, encode_label_image, read_palette
from caffe_lite.errors import DataError
from tests.data.image_files import palette_png

cv2 = pytest.importorskip("cv2")

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (256, 3))


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_values(dtype: type) -> None:
    labels = RNG.integers(0, np.iinfo(dtype).max + 1, (5, 7), dtype)
    np.testing.assert_array_equal(decode_label_image(png(labels)), labels)


def test_equal_channels_are_gray() -> None:
    labels = RNG.integers(0, 256, (4, 3), np.uint8)
    np.testing.assert_array_equal(decode_label_image(png(np.stack([labels] * 3, axis=2))), labels)
    opaque = np.full_like(labels, 255)
    np.testing.assert_array_equal(decode_label_image(png(np.stack([labels] * 3 + [opaque], axis=2))), labels)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_of_colours_gives_indices(depth: int, transparent: bool) -> None:
    indices = RNG.integers(0, 2**depth, (6, 9))
    data = palette_png(indices, COLORS[: 2**depth], depth, transparent)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[0, 0, 2] == COLORS[indices[0, 0], 0]
    np.testing.assert_array_equal(decode_label_image(data), indices)


def test_labels_are_written_with_colours() -> None:
    labels = RNG.integers(0, 21, (6, 9), np.uint8)
    data = encode_label_image(labels, COLORS[:21])
    np.testing.assert_array_equal(decode_label_image(data), labels)
    np.testing.assert_array_equal(read_palette(data), COLORS[:21])
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), COLORS[labels][..., ::-1]
    )
    assert read_palette(png(labels)) is None


def test_a_palette_of_grays_gives_these() -> None:
    grays = np.array([0, 255, 7, 3])
    indices = RNG.integers(0, 4, (6, 9))
    data = palette_png(indices, np.stack([grays] * 3, axis=1), 2)
    np.testing.assert_array_equal(decode_label_image(data), grays[indices])


def test_other_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"it is in colour. Write labels as a gray image, or as a PNG with a palette"):
        decode_label_image(png(RNG.integers(0, 256, (4, 4, 3), np.uint8)))
    encoded = cv2.imencode(".tiff", np.ones((2, 2), np.float32))[1].tobytes()
    with pytest.raises(DataError, match="its pixels are of type float32"):
        decode_label_image(encoded)


@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_damage_ends_in_an_error_or_in_labels(at: int, value: int, cut: bool) -> None:
    data = bytearray(palette_png(np.arange(12).reshape(3, 4), COLORS))
    data[at % len(data)] = value
    if cut:
        del data[at % len(data) :]
    try:
        assert decode_label_image(bytes(data)).ndim == 2
    except DataError:
        pass
