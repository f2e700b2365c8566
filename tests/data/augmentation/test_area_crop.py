"""random_aspect_ratio_param: patches of an image that tells where they come from."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.area_crop import AreaCrop
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import RandomAspectRatioParameter

cv2 = pytest.importorskip("cv2")

# The value of a pixel is its row in channel 0 and its column in channel 1.
PLACES = np.stack(np.meshgrid(np.arange(40), np.arange(60), indexing="ij")).astype(np.float32)


def step(text: str, crop_size: int = 200) -> AreaCrop:
    return AreaCrop(text_format.Parse(text, RandomAspectRatioParameter()), crop_size)


def windows(text: str, count: int = 200) -> np.ndarray:
    """Return top, left, height and width (count, 4) of the patches drawn."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(count):
        patch = step(text)(PLACES, rng)
        assert patch.shape == (2, 200, 200)
        low, high = patch.min((1, 2)), patch.max((1, 2))
        drawn.append([*low, *(high - low + 1)])
    return np.rint(drawn)


def test_areas_and_shapes_lie_within_their_bounds() -> None:
    drawn = windows("min_area_ratio: 0.1 max_area_ratio: 0.3 aspect_ratio_change: 0.75")
    top, left, height, width = drawn.T
    assert (height * width >= 0.1 * 2400 - height - width).all() and (height * width <= 0.3 * 2400 + 1).all()
    change = np.sqrt(height / width)
    assert 0.7 < change.min() < 0.85 and 1.2 < change.max() < 1.42
    assert top.min() == left.min() == 0
    assert (top + height).max() == 40 and (left + width).max() == 60


def test_without_a_change_of_aspect_patches_are_squares() -> None:
    _, _, height, width = windows("max_area_ratio: 0.6", 20).T
    assert (height == width).all() and len(set(height)) > 3


def test_if_no_patch_fits_the_whole_image_is_resized() -> None:
    rng = np.random.default_rng(0)
    assert step("min_area_ratio: 1 max_area_ratio: 1", 20)(PLACES, rng).shape == (2, 20, 30)
    assert step("max_attempt: 0", 20)(PLACES, rng).shape == (2, 20, 30)


@pytest.mark.parametrize(
    ("text", "crop_size", "message"),
    [
        ("", 0, "random_aspect_ratio_param needs a crop_size"),
        ("min_area_ratio: 0", 5, "draws areas from 0 to 1. Set 0 < min_area_ratio"),
        ("max_area_ratio: 0.25", 5, "draws areas from 0.5 to 0.25"),
        ("aspect_ratio_change: 0", 5, "aspect_ratio_change in random_aspect_ratio_param is 0"),
    ],
)
def test_what_cannot_be_drawn(text: str, crop_size: int, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        step(text, crop_size)
