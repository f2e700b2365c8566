"""distort_param: random changes to the colours of an image."""

from __future__ import annotations

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import DistortionParameter
from ..images.image import import_cv2
from .pixels import look_up, require_bytes, require_color, through_cv2

_HUE, _SATURATION = 0, 1
_BYTES = np.arange(256, dtype=np.float32)


def check_distortion(param: DistortionParameter) -> None:
    """Refuse a distort_param with ranges from which nothing can be drawn."""
    for name in ("brightness_delta", "hue_delta"):
        if getattr(param, name) < 0:
            raise LayerError(f"{name} in distort_param is {getattr(param, name):g}", hint="It must be at least 0")
    for name in ("contrast", "saturation"):
        lower, upper = (getattr(param, f"{name}_{end}") for end in ("lower", "upper"))
        if not 0 <= lower <= upper:
            raise LayerError(
                f"{name}_lower and {name}_upper in distort_param are {lower:g} and {upper:g}",
                hint="Set 0 <= lower <= upper",
            )


def distort(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image (C, H, W) of bytes with other colours.

    Reads ``distort_param``: brightness_prob (0), with which a number from -brightness_delta to brightness_delta is
    added to all values; contrast_prob, with which all are multiplied by one from contrast_lower to contrast_upper;
    saturation_prob and saturation_lower, saturation_upper, the same for the saturation; hue_prob and hue_delta, in
    units of 2 degrees, added to the hue, which stays at least 0; random_order_prob, with which the channels are put in
    a random order. The contrast changes after the brightness or, as often, after the hue.
    """
    require_bytes(image, "distort_param")
    contrast_first = rng.random() < 0.5
    steps = ["brightness", *(["contrast"] if contrast_first else []), "saturation", "hue"]
    steps += ["random_order"] if contrast_first else ["contrast", "random_order"]
    for step in steps:
        if rng.random() < getattr(param, f"{step}_prob"):
            image = _STEPS[step](param, image, rng)
    return image


def _brightness(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    delta = rng.uniform(-param.brightness_delta, param.brightness_delta)
    return through_cv2(image, lambda x: look_up(x, _BYTES + np.float32(delta)))


def _contrast(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = rng.uniform(param.contrast_lower, param.contrast_upper)
    return through_cv2(image, lambda x: look_up(x, _BYTES * np.float32(factor)))


def _saturation(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = rng.uniform(param.saturation_lower, param.saturation_upper)
    return _in_hsv(image, _SATURATION, _BYTES * np.float32(factor), "saturation_prob")


def _hue(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    delta = rng.uniform(-param.hue_delta, param.hue_delta)
    return _in_hsv(image, _HUE, _BYTES + np.float32(delta), "hue_prob")


def _in_hsv(image: np.ndarray, channel: int, values: np.ndarray, field: str) -> np.ndarray:
    """Replace each byte of one of hue, saturation and value by values[byte]."""
    require_color(image, f"{field} in distort_param")
    cv2 = import_cv2()

    def change(x: np.ndarray) -> np.ndarray:
        hsv = cv2.cvtColor(x, cv2.COLOR_BGR2HSV)
        hsv[..., channel] = look_up(np.ascontiguousarray(hsv[..., channel]), values)
        changed: np.ndarray = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return changed

    return through_cv2(image, change)


def _random_order(param: DistortionParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[rng.permutation(len(image))]


_STEPS = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "random_order": _random_order,
}
