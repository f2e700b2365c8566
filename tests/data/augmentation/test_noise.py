"""noise_param, step by step, against the definition of each or the one function of OpenCV that it is."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.noise import add_noise, check_noise
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import NoiseParameter

cv2 = pytest.importorskip("cv2")
IMAGE = np.random.default_rng(0).integers(0, 200, (3, 24, 32), np.uint8)


def noisy(text: str, image: np.ndarray = IMAGE, seed: int = 0) -> np.ndarray:
    return add_noise(text_format.Parse(text, NoiseParameter()), image, np.random.default_rng(seed))


def hwc(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def equalized(grey: np.ndarray) -> np.ndarray:
    """Histogram equalisation from its definition."""
    counts = np.bincount(grey.ravel(), minlength=256).cumsum()
    least = counts[grey.min()]
    return np.rint((counts - least) / (counts[-1] - least) * 255)[grey]


def test_nothing_is_asked_for() -> None:
    assert (noisy("") == IMAGE).all()


def test_decolorize() -> None:
    blue, green, red = IMAGE.astype(float)
    grey = 0.114 * blue + 0.587 * green + 0.299 * red
    result = noisy("decolorize: true")
    assert result.shape == IMAGE.shape
    assert np.abs(result - grey).max() < 1
    assert (noisy("decolorize: true", IMAGE[:1]) == IMAGE[:1]).all()


def test_posterize_and_inverse() -> None:
    assert (noisy("posterize: true") == IMAGE // 64 * 64 + 32).all()
    assert (noisy("inverse: true") == 255 - IMAGE).all()
    assert (noisy("inverse: true posterize: true") == 255 - (IMAGE // 64 * 64 + 32)).all()


def test_erode_takes_the_smallest_of_a_cross() -> None:
    padded = np.pad(IMAGE, ((0, 0), (1, 1), (1, 1)), constant_values=255)
    parts = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    expected = np.min([padded[:, y : y + 24, x : x + 32] for y, x in parts], 0)
    assert (noisy("erode: true") == expected).all()


def test_gauss_blur_weighs_by_distance() -> None:
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    padded = np.pad(IMAGE.astype(float), ((0, 0), (3, 3), (3, 3)), mode="reflect")
    rows = sum(weight * padded[:, i : i + 24] for i, weight in enumerate(weights))
    expected = sum(weight * rows[:, :, i : i + 32] for i, weight in enumerate(weights))
    assert np.abs(noisy("gauss_blur: true") - expected).max() < 1.5


def test_hist_eq() -> None:
    assert np.abs(noisy("hist_eq: true", IMAGE[:1]) - equalized(IMAGE[:1])).max() <= 1
    ycrcb = cv2.cvtColor(hwc(IMAGE), cv2.COLOR_BGR2YCrCb)
    ycrcb[..., 0] = equalized(ycrcb[..., 0])
    expected = cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR).transpose(2, 0, 1)
    assert np.abs(noisy("hist_eq: true").astype(int) - expected).max() <= 3


@pytest.mark.parametrize("channels", [1, 3])
def test_clahe_raises_the_contrast_of_a_dull_image(channels: int) -> None:
    dull = IMAGE[:channels] // 8 + 100
    result = noisy("clahe: true", dull)
    assert result.shape == dull.shape
    assert result.std() > 2 * dull.std()


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_the_channels_and_loses_details(channels: int) -> None:
    image = cv2.GaussianBlur(hwc(IMAGE), (7, 7), 3).transpose(2, 0, 1)[:channels]
    good, bad = (np.abs(noisy(f"jpeg: {quality}", image).astype(int) - image).mean() for quality in (95, 5))
    assert 0 < good < bad < 60


@pytest.mark.parametrize(
    ("values", "grain"), [("value: 255", [255, 255, 255]), ("value: 1 value: 2 value: 3", [1, 2, 3])]
)
def test_saltpepper(values: str, grain: list[int]) -> None:
    image = np.full((3, 50, 40), 99, np.uint8)
    result = noisy(f"saltpepper: true saltpepper_param {{ fraction: 0.1 {values} }}", image)
    grains = (result == np.array(grain)[:, None, None]).all(0)
    assert 150 < grains.sum() <= 200  # of 200 drawn with replacement
    assert (result[:, ~grains] == 99).all()
    assert (image == 99).all()


def test_color_spaces() -> None:
    hsv = noisy("convert_to_hsv: true", np.array([0, 0, 255], np.uint8).reshape(3, 1, 1))
    assert hsv.ravel().tolist() == [0, 255, 255]
    lab = noisy("convert_to_lab: true", np.full((3, 2, 2), 255, np.uint8))
    assert lab.dtype == np.float32
    assert np.allclose(lab[:, 0, 0], [100, 0, 0], atol=0.1)


@pytest.mark.parametrize("text", ["convert_to_hsv: true", "convert_to_lab: true"])
def test_a_grey_image_has_no_colours(text: str) -> None:
    with pytest.raises(DataError, match="in noise_param needs images of 3 channels, and it has 1"):
        noisy(text, IMAGE[:1])


def test_what_cannot_be_done() -> None:
    with pytest.raises(DataError, match="value in saltpepper_param is given 2 times, the image has 3 channels"):
        noisy("saltpepper: true saltpepper_param { value: 1 value: 2 }")
    with pytest.raises(LayerError, match="saltpepper in noise_param lacks the value of its grains"):
        check_noise(text_format.Parse("saltpepper: true", NoiseParameter()))
    with pytest.raises(DataError, match="noise_param changes images of bytes only"):
        noisy("", IMAGE.astype(np.float32))
