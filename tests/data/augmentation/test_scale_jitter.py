"""multi_scale and fix_crop: every crop that the fork could draw, and no other."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.scale_jitter import ScaleJitter, fixed_places
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import TransformationParameter

cv2 = pytest.importorskip("cv2")

# Sizes by hand: shares of 20 are 20, 17, 15 and 13; 17 and 13 are near to a crop_size of 15.
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 20, 26), np.uint8)


def param(text: str) -> TransformationParameter:
    return text_format.Parse(text, TransformationParameter())


def crops(text: str, count: int = 300) -> set[bytes]:
    step, rng = ScaleJitter(param(text)), np.random.default_rng(3)
    drawn = [step(IMAGE, rng) for _ in range(count)]
    assert {crop.shape for crop in drawn} == {(3, 15, 15)}
    return {crop.tobytes() for crop in drawn}


def crop(top: int, left: int, height: int, width: int) -> bytes:
    part = np.ascontiguousarray(IMAGE[:, top : top + height, left : left + width].transpose(1, 2, 0))
    resized = part if (height, width) == (15, 15) else cv2.resize(part, (15, 15))
    return np.ascontiguousarray(resized.transpose(2, 0, 1)).tobytes()


def at_fixed_places(sizes: list[tuple[int, int]], quarters: list[tuple[int, int]]) -> set[bytes]:
    return {
        crop(down * ((20 - height) // 4), right * ((26 - width) // 4), height, width)
        for height, width in sizes
        for down, right in quarters
    }


CORNERS = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
BETWEEN = [(0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3)]


def test_sizes_of_neighbouring_shares_at_the_corners_and_the_centre() -> None:
    drawn = crops("crop_size: 15 multi_scale: true fix_crop: true")
    assert drawn == at_fixed_places([(20, 20), (20, 15), (15, 20), (15, 15)], CORNERS)


def test_shares_and_their_difference_are_settings() -> None:
    text = "crop_size: 15 multi_scale: true fix_crop: true more_fix_crop: true scale_ratios: [1, 0.5]"
    assert crops(f"{text} max_distort: 0", 600) == at_fixed_places([(20, 20), (10, 10)], CORNERS + BETWEEN)
    assert crops(text, 900) == at_fixed_places([(20, 20), (10, 10), (20, 10), (10, 20)], CORNERS + BETWEEN)


def test_crops_are_anywhere_without_fix_crop() -> None:
    drawn = crops("crop_size: 15 multi_scale: true scale_ratios: 0.75", 600)
    assert drawn == {crop(top, left, 15, 15) for top in range(6) for left in range(12)}


def test_places_of_a_crop_of_one_size() -> None:
    assert fixed_places(param(""), (9, 7)).tolist() == [[0, 0], [0, 4], [8, 0], [8, 4], [4, 2]]
    assert len(fixed_places(param("more_fix_crop: true"), (9, 7))) == 13
    assert not fixed_places(param(""), (0, 3)).any()


def test_an_image_that_is_too_small() -> None:
    with pytest.raises(DataError, match="crop_size 21 is larger than the image: 20 x 26"):
        ScaleJitter(param("crop_size: 21 multi_scale: true"))(IMAGE, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multi_scale: true", "multi_scale and fix_crop need a crop_size"),
        ("fix_crop: true", "multi_scale and fix_crop need a crop_size"),
        ("multi_scale: true crop_size: 3 scale_ratios: [1, 1.5]", "1.5 is one of scale_ratios"),
        ("multi_scale: true crop_size: 3 max_distort: -1", "max_distort is -1"),
    ],
)
def test_what_cannot_be_drawn(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        ScaleJitter(param(text))
