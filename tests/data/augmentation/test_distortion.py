"""Colours, against their formulas with NumPy or OpenCV, for the numbers that must have been drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.distortion import check_distortion, distort
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import DistortionParameter

cv2 = pytest.importorskip("cv2")
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 8, 9), np.uint8)
DRAWS = 400


def distorted(text: str, image: np.ndarray = IMAGE) -> list[np.ndarray]:
    param = text_format.Parse(text, DistortionParameter())
    rng = np.random.default_rng(0)
    return [distort(param, image, rng) for _ in range(DRAWS)]


def hsv(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_BGR2HSV)


def bgr(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_HSV2BGR).transpose(2, 0, 1)


def test_without_probabilities_nothing_changes() -> None:
    assert all((image == IMAGE).all() for image in distorted("brightness_delta: 32 hue_delta: 18")[:20])


def test_half_of_the_images_change() -> None:
    changed = sum((image != IMAGE).any() for image in distorted("brightness_prob: 0.5 brightness_delta: 32"))
    assert 0.4 * DRAWS < changed < 0.6 * DRAWS


def test_brightness_adds_one_number_to_all_values() -> None:
    deltas = []
    for image in distorted("brightness_prob: 1 brightness_delta: 32"):
        middle = (IMAGE > 40) & (IMAGE < 215)
        difference = image.astype(int) - IMAGE
        assert len({*difference[middle].tolist()}) == 1
        deltas.append(difference[middle][0])
        assert (image == np.clip(IMAGE.astype(int) + deltas[-1], 0, 255)).all()
    assert min(deltas) < -29
    assert max(deltas) > 29
    assert max(map(abs, deltas)) <= 32


def test_contrast_multiplies_all_values_and_rounds() -> None:
    for image in distorted("contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.5")[:50]:
        factor = np.median(image[(IMAGE > 60) & (IMAGE < 150)] / IMAGE[(IMAGE > 60) & (IMAGE < 150)])
        assert 0.49 < factor < 1.51
        assert np.abs(image - np.clip(IMAGE * factor, 0, 255)).max() < 2.5


def test_saturation_multiplies_the_second_of_hsv() -> None:
    (image, *others) = distorted("saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 0.5")
    expected = hsv(IMAGE)
    expected[..., 1] = np.rint(expected[..., 1] * 0.5)
    assert (image == bgr(expected)).all()
    assert all((other == image).all() for other in others)


def test_hue_adds_one_number_to_the_first_of_hsv() -> None:
    found = set()
    for image in distorted("hue_prob: 1 hue_delta: 18"):
        for delta in range(-18, 19):
            expected = hsv(IMAGE)
            expected[..., 0] = np.clip(expected[..., 0].astype(int) + delta, 0, 255)
            if (image == bgr(expected)).all():
                found.add(delta)
                break
        else:
            pytest.fail("no hue from -18 to 18 gives this image")
    assert len(found) > 30


def test_every_order_of_the_channels() -> None:
    orders = {tuple(order): 0 for order in itertools.permutations(range(3))}
    for image in distorted("random_order_prob: 1"):
        order = next(order for order in orders if (image == IMAGE[list(order)]).all())
        orders[order] += 1
    assert min(orders.values()) > DRAWS / 12


def test_contrast_comes_before_the_saturation_or_after_it() -> None:
    """Twice the contrast, which cuts off the largest value, and half the saturation, in both orders."""
    text = "saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 0.5 "
    text += "contrast_prob: 1 contrast_lower: 2 contrast_upper: 2"
    pixel = np.array([100, 50, 200], np.uint8).reshape(3, 1, 1)
    found = [image.ravel()[1] for image in distorted(text, pixel)]
    first, last = min(found), max(found)
    assert abs(first - 255 * (1 - (255 - 100) / 255 / 2)) < 3
    assert abs(last - 2 * 200 * (1 - (200 - 50) / 200 / 2)) < 3
    assert 0.4 * DRAWS < found.count(first) < 0.6 * DRAWS
    assert found.count(first) + found.count(last) == DRAWS


def test_grey_images_have_no_hue_but_a_brightness() -> None:
    grey = IMAGE[:1]
    assert {image.shape for image in distorted("brightness_prob: 1 brightness_delta: 9", grey)} == {grey.shape}
    for field in ("hue", "saturation"):
        with pytest.raises(DataError, match=f"{field}_prob in distort_param needs images of 3 channels, and it has 1"):
            distorted(f"{field}_prob: 1", grey)


def test_only_bytes_can_be_distorted() -> None:
    with pytest.raises(DataError, match="changes images of bytes only, and its values are of type float32"):
        distorted("", IMAGE.astype(np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brightness_delta: -1", "brightness_delta in distort_param is -1. It must be at least 0"),
        ("hue_delta: -0.5", "hue_delta in distort_param is -0.5"),
        ("contrast_lower: 2 contrast_upper: 1", "contrast_lower and contrast_upper in distort_param are 2 and 1"),
        ("saturation_lower: -1", "saturation_lower and saturation_upper in distort_param are -1 and 0"),
    ],
)
def test_ranges_that_cannot_be_drawn_from(text: str, message: str) -> None:
    with pytest.raises(LayerError) as caught:
        check_distortion(text_format.Parse(text, DistortionParameter()))
    assert message in str(caught.value)
