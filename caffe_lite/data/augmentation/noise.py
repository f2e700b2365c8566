"""noise_param: filters and noise that make images look as other cameras would take them."""

from __future__ import annotations

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import NoiseParameter
from ..images.image import import_cv2
from .pixels import CvFunction, look_up, per_channel, require_bytes, require_color, through_cv2

_CLIP_LIMIT = 4
_BLUR = (7, 7), 1.5
_LEVELS = 64  # the width of a level of posterize


def check_noise(param: NoiseParameter) -> None:
    """Refuse salt and pepper without the values of its grains."""
    if param.saltpepper and not param.saltpepper_param.value:
        raise LayerError(
            "saltpepper in noise_param lacks the value of its grains",
            hint="Write saltpepper_param { fraction: 0.01 value: 255 }",
        )


def add_noise(param: NoiseParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image (C, H, W) of bytes after the steps that are asked for.

    Reads ``noise_param``, in this order: decolorize (false), to grey in as many channels; gauss_blur; hist_eq, of the
    brightness; clahe, the same in tiles; jpeg (-1), the quality with which the image is compressed and read again;
    erode; posterize, to 4 levels; inverse; saltpepper, which sets saltpepper_param's fraction (0) of the pixels to its
    value, one or one per channel; convert_to_hsv; convert_to_lab, in float32, which the fork reads as bytes. prob is
    not read, as in SSD.
    """
    require_bytes(image, "noise_param")
    for step in _steps(param):
        image = through_cv2(image, step)
    if param.saltpepper:
        image = _saltpepper(param, image, rng)
    cv2 = import_cv2()
    if param.convert_to_hsv:
        require_color(image, "convert_to_hsv in noise_param")
        image = through_cv2(image, lambda x: cv2.cvtColor(x, cv2.COLOR_BGR2HSV))
    if param.convert_to_lab:
        require_color(image, "convert_to_lab in noise_param")
        image = through_cv2(image, lambda x: cv2.cvtColor(x.astype(np.float32) / 255, cv2.COLOR_BGR2Lab))
    return image


def _steps(param: NoiseParameter) -> list[CvFunction]:
    cv2 = import_cv2()
    bytes_ = np.arange(256)
    steps: list[tuple[bool, CvFunction]] = [
        (param.decolorize, _decolorize),
        (param.gauss_blur, lambda x: cv2.GaussianBlur(x, *_BLUR)),
        (param.hist_eq, lambda x: _on_brightness(x, cv2.equalizeHist)),
        (param.clahe, lambda x: _on_brightness(x, cv2.createCLAHE(_CLIP_LIMIT).apply)),
        (param.jpeg > 0, lambda x: _compressed(x, int(param.jpeg))),
        (param.erode, lambda x: cv2.erode(x, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))),
        (param.posterize, lambda x: look_up(x, bytes_ // _LEVELS * _LEVELS + _LEVELS // 2)),
        (param.inverse, np.invert),
    ]
    return [step for wanted, step in steps if wanted]


def _decolorize(x: np.ndarray) -> np.ndarray:
    cv2 = import_cv2()
    if x.ndim == 2:
        return x
    grey: np.ndarray = cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return grey


def _on_brightness(x: np.ndarray, function: CvFunction) -> np.ndarray:
    """Apply a function to a grey image, or to the brightness of one in colour."""
    cv2 = import_cv2()
    if x.ndim == 2:
        return function(x)
    ycrcb = cv2.cvtColor(x, cv2.COLOR_BGR2YCrCb)
    ycrcb[..., 0] = function(np.ascontiguousarray(ycrcb[..., 0]))
    changed: np.ndarray = cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)
    return changed


def _compressed(x: np.ndarray, quality: int) -> np.ndarray:
    cv2 = import_cv2()
    _, content = cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, quality])
    image: np.ndarray = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    return image


def _saltpepper(param: NoiseParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    channels, height, width = image.shape
    values = per_channel(param.saltpepper_param.value, channels, "value in saltpepper_param").astype(image.dtype)
    count = int(np.float32(param.saltpepper_param.fraction) * height * width)
    grainy = np.array(image)
    grainy[:, rng.integers(height, size=count), rng.integers(width, size=count)] = values[:, None]
    return grainy
