"""random_resize_param: sizes by hand, and where the interpolation comes from."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.shorter_side import ShorterSide
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import RandomResizeParameter

cv2 = pytest.importorskip("cv2")


def step(text: str) -> ShorterSide:
    return ShorterSide(text_format.Parse(text, RandomResizeParameter()))


def sizes(text: str, height: int, width: int, count: int = 60) -> set[tuple[int, int]]:
    rng, image = np.random.default_rng(0), np.zeros((3, height, width), np.uint8)
    return {step(text)(image, rng).shape[1:] for _ in range(count)}


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("min_size: 6 max_size: 6", (5, 10), {(6, 12)}),
        ("min_size: 6 max_size: 6", (10, 5), {(12, 6)}),
        ("min_size: 6 max_size: 6", (3, 10), {(6, 20)}),
        ("min_size: 3 max_size: 5", (4, 8), {(3, 6), (4, 8), (5, 10)}),
        ("max_size: 5", (4, 8), {(4, 8), (5, 10)}),
        ("min_size: 7", (4, 8), {(7, 14), (8, 16)}),
        ("", (3, 4), {(3, 4), (4, 5)}),
    ],
)
def test_the_shorter_side_is_drawn_and_the_longer_one_follows(
    text: str, size: tuple[int, int], wanted: set[tuple[int, int]]
) -> None:
    assert sizes(text, *size) == wanted
    assert step(text).least(*size) == min(wanted)


def test_the_inner_resize_param_says_how() -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 4, 6), np.uint8)
    mine = step("min_size: 8 max_size: 8 resize_param { interp_mode: CUBIC }")(image, np.random.default_rng(0))
    wanted = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (12, 8), interpolation=cv2.INTER_CUBIC)
    assert (mine == wanted.transpose(2, 0, 1)).all()


def test_bounds_in_the_wrong_order() -> None:
    with pytest.raises(LayerError, match="min_size in random_resize_param is 9, more than max_size, 8"):
        step("min_size: 9 max_size: 8")
