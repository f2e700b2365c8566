"""NVIDIA's random sizes: bounds by hand, and OpenCV's interpolations."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.stretching import Stretching, stretches
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import TransformationParameter

cv2 = pytest.importorskip("cv2")


def param(text: str) -> TransformationParameter:
    return text_format.Parse(text, TransformationParameter())


def sizes(text: str, height: int, width: int, count: int = 80) -> set[tuple[int, int]]:
    rng, image = np.random.default_rng(0), np.zeros((1, height, width), np.uint8)
    return {Stretching(param(text))(image, rng).shape[1:] for _ in range(count)}


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("img_rand_resize_lower: 4 img_rand_resize_upper: 4", (10, 20), {(4, 8)}),
        ("img_rand_resize_lower: 4 img_rand_resize_upper: 6", (20, 10), {(8, 4), (10, 5), (12, 6)}),
        ("img_rand_resize_lower: 4 img_rand_resize_upper: 4", (10, 15), {(4, 6)}),
        ("img_rand_resize_lower: 3 img_rand_resize_upper: 3", (10, 15), {(3, 5)}),  # halves are rounded up
        ("img_rand_resize_lower: 4 img_rand_resize_upper: 4 crop_size: 5", (10, 15), {(5, 6)}),
        ("img_rand_resize_lower: 20 img_rand_resize_upper: 20", (10, 15), {(10, 15)}),
        ("img_rand_resize_lower: 20 img_rand_resize_upper: 20 allow_upscale: true", (10, 15), {(20, 30)}),
        ("img_rand_resize_lower: 9", (10, 15), {(10, 15)}),
        ("vertical_stretch_lower: 0.5 vertical_stretch_upper: 0.5", (10, 20), {(5, 20)}),
        ("horizontal_stretch_lower: 0.25 horizontal_stretch_upper: 0.25", (10, 20), {(10, 5)}),
        ("rand_resize_ratio_lower: 1.5 rand_resize_ratio_upper: 1.5", (10, 20), {(10, 15)}),
        ("rand_resize_ratio_lower: 1.5 rand_resize_ratio_upper: 1.5", (20, 10), {(15, 10)}),
        (
            "rand_resize_ratio_lower: 2 rand_resize_ratio_upper: 2 allow_upscale: true",
            (10, 10),
            {(10, 20), (20, 10)},
        ),
    ],
)
def test_sizes(text: str, size: tuple[int, int], wanted: set[tuple[int, int]]) -> None:
    assert stretches(param(text))
    assert sizes(text, *size) == wanted
    assert Stretching(param(text)).least(*size) in wanted


def test_a_stretch_is_drawn_between_its_bounds() -> None:
    heights = [height for height, _ in sizes("vertical_stretch_lower: 0.5 vertical_stretch_upper: 0.9", 1000, 10)]
    assert 500 <= min(heights) < 520 and 880 < max(heights) <= 900 and len(heights) > 50


@pytest.mark.parametrize(
    ("text", "factor", "flag"),
    [
        ("", 0.5, cv2.INTER_NEAREST),
        ("interpolation_algo_down: INTER_AREA", 0.5, cv2.INTER_AREA),
        ("interpolation_algo_up: INTER_AREA", 0.5, cv2.INTER_NEAREST),
        ("", 2, cv2.INTER_CUBIC),
        ("interpolation_algo_up: INTER_LINEAR", 2, cv2.INTER_LINEAR),
    ],
)
def test_interpolations(text: str, factor: float, flag: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 8, 12), np.uint8)
    bounds = " ".join(
        f"{side}_stretch_{end}: {factor}" for side in ("vertical", "horizontal") for end in ("lower", "upper")
    )
    mine = Stretching(param(f"{text} {bounds} allow_upscale: true"))(image, np.random.default_rng(0))
    size = int(12 * factor), int(8 * factor)
    wanted = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), size, interpolation=flag)
    assert (mine == wanted.transpose(2, 0, 1)).all()


def test_nothing_asked() -> None:
    assert not stretches(param("allow_upscale: true crop_size: 3 interpolation_algo_up: INTER_LINEAR"))


def test_bounds_in_the_wrong_order() -> None:
    with pytest.raises(LayerError, match="img_rand_resize_lower is 9, img_rand_resize_upper 8"):
        Stretching(param("img_rand_resize_lower: 9 img_rand_resize_upper: 8"))
    with pytest.raises(LayerError, match="vertical_stretch_lower is 2, vertical_stretch_upper 1"):
        Stretching(param("vertical_stretch_lower: 2"))
