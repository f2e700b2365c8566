"""Sizes by hand, and pixels of images that are constant or tell where they come from."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.resizing import check_resize, rescale, resize, resize_objects, resized
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import ResizeParameter

cv2 = pytest.importorskip("cv2")


def param(text: str) -> ResizeParameter:
    return text_format.Parse(text, ResizeParameter())


def resized_image(text: str, image: np.ndarray, seed: int = 0) -> np.ndarray:
    return resize(param(text), image, np.random.default_rng(seed))


def one_object(*box: float) -> np.ndarray:
    return np.array([[1, 0, *box, 0]], np.float32)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("height: 30 width: 20", (100, 10), (30, 20)),
        ("height: 300 width: 300 resize_mode: FIT_SMALL_SIZE", (375, 500), (300, 400)),
        ("height: 300 width: 300 resize_mode: FIT_SMALL_SIZE", (500, 375), (400, 300)),
        ("height: 300 width: 400 resize_mode: FIT_SMALL_SIZE", (375, 500), (300, 400)),
        ("height: 300 width: 300 resize_mode: FIT_SMALL_SIZE", (333, 500), (300, 450)),
        ("height: 300 width: 300 resize_mode: FIT_LARGE_SIZE_AND_PAD", (375, 500), (300, 300)),
        ("height: 2 width: 2 resize_mode: FIT_LARGE_SIZE_AND_PAD", (1, 50), (2, 2)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(text: str, size: tuple[int, int], expected: tuple[int, int], channels: int) -> None:
    assert resized(param(text), *size) == expected
    image = np.full((channels, *size), 9, np.uint8)
    assert resized_image(text, image).shape == (channels, *expected)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("LINEAR", cv2.INTER_LINEAR),
        ("AREA", cv2.INTER_AREA),
        ("NEAREST", cv2.INTER_NEAREST),
        ("CUBIC", cv2.INTER_CUBIC),
        ("LANCZOS4", cv2.INTER_LANCZOS4),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_interpolations_are_those_of_opencv(name: str, flag: int, dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 9)).astype(dtype)
    expected = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (5, 7), interpolation=flag)
    result = resized_image(f"height: 7 width: 5 interp_mode: {name}", image)
    assert result.dtype == dtype
    assert (result == expected.transpose(2, 0, 1)).all()


def test_linear_without_a_mode_and_one_of_several_at_random() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 9)).astype(np.uint8)
    by_mode = [resized_image(f"height: 7 width: 5 interp_mode: {name}", image) for name in ("LINEAR", "NEAREST")]
    assert (resized_image("height: 7 width: 5", image) == by_mode[0]).all()
    text, counts = "height: 7 width: 5 interp_mode: LINEAR interp_mode: NEAREST", [0, 0]
    for seed in range(200):
        result = resized_image(text, image, seed)
        counts[next(i for i, expected in enumerate(by_mode) if (result == expected).all())] += 1
    assert min(counts) > 60


@pytest.mark.parametrize(
    ("text", "above", "below"),
    [
        ("", 0, 0),
        ("pad_value: 7", 7, 7),
        ("pad_mode: REPEAT_NEAREST", 10, 30),
        ("pad_mode: MIRRORED", 20, 20),  # without the edge itself
    ],
)
def test_what_fills_the_rest(text: str, above: int, below: int) -> None:
    """Three rows of one value each, in the middle of five."""
    image = np.repeat(np.array([10, 20, 30], np.uint8)[None, :, None], 5, 2)
    result = resized_image(f"height: 5 width: 5 resize_mode: FIT_LARGE_SIZE_AND_PAD {text}", image)
    assert (result == np.array([above, 10, 20, 30, below])[None, :, None]).all()


def test_one_pad_value_per_channel_beside_a_narrow_image() -> None:
    text = "height: 4 width: 4 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 1 pad_value: 2 pad_value: 3"
    result = resized_image(text, np.full((3, 8, 2), 50, np.uint8))
    for channel, value in enumerate([1, 2, 3]):
        assert (result[channel] == [value, 50, value, value]).all()
    with pytest.raises(DataError, match="pad_value in resize_param is given 3 times, the image has 1 channels"):
        resized_image(text, np.full((1, 8, 2), 50, np.uint8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 0.25, 0.5, 1]),
        ("resize_mode: FIT_SMALL_SIZE", [0, 0.25, 0.5, 1]),
        # the image is twice as wide as high, in a square: its rows are the middle half
        ("resize_mode: FIT_LARGE_SIZE_AND_PAD", [0, 0.375, 0.5, 0.75]),
    ],
)
def test_where_boxes_are(text: str, expected: list[float]) -> None:
    moved = resize_objects(param(f"height: 30 width: 30 {text}"), one_object(-0.1, 0.25, 0.5, 1.5), 20, 40)
    assert moved[0, 2:6].tolist() == expected


def test_a_box_follows_its_pixels_between_the_padding() -> None:
    """The white part of an image of 100 x 40, padded to a square, against its box."""
    image = np.zeros((1, 100, 40), np.uint8)
    image[0, 20:60, 10:30] = 255
    text = "height: 200 width: 200 resize_mode: FIT_LARGE_SIZE_AND_PAD interp_mode: NEAREST"
    rows, columns = np.nonzero(resized_image(text, image)[0])
    box = resize_objects(param(text), one_object(0.25, 0.2, 0.75, 0.6), 100, 40)[0, 2:6] * 200
    assert np.allclose(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1)


def test_boxes_in_units_of_a_fixed_size() -> None:
    text = "height: 10 width: 10 resize_mode: FIT_SMALL_SIZE height_scale: 10 width_scale: 20"
    assert rescale(param(text), one_object(0.25, 0.5, 0.75, 1), 30, 80)[0, 2:6].tolist() == [1, 1.5, 3, 3]
    with pytest.raises(DataError, match="the image is 30 x 15, smaller than height_scale x width_scale"):
        rescale(param(text), one_object(0, 0, 1, 1), 30, 15)
    for other in ("height: 10 width: 10 height_scale: 10 width_scale: 20", "resize_mode: FIT_SMALL_SIZE"):
        assert rescale(param(other), one_object(0, 0, 1, 1), 30, 15)[0, 2:6].tolist() == [0, 0, 1, 1]


def test_a_size_is_needed() -> None:
    with pytest.raises(LayerError, match=r"height and width in resize_param are 300 and 0\. Give both of them"):
        check_resize(param("height: 300"))
