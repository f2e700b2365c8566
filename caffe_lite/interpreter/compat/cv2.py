"""OpenCV: the constants of version 2.4."""

from __future__ import annotations

from .names import Stand, give_names, missing

_NAMES: dict[str, Stand] = {
    "CV_AA": "cv2.LINE_AA",
    "CV_LOAD_IMAGE_ANYCOLOR": "cv2.IMREAD_ANYCOLOR",
    "CV_LOAD_IMAGE_ANYDEPTH": "cv2.IMREAD_ANYDEPTH",
    "CV_LOAD_IMAGE_COLOR": "cv2.IMREAD_COLOR",
    "CV_LOAD_IMAGE_GRAYSCALE": "cv2.IMREAD_GRAYSCALE",
    "CV_LOAD_IMAGE_UNCHANGED": "cv2.IMREAD_UNCHANGED",
}

PREVENTED = missing("cv2", _NAMES)


def install() -> None:
    give_names("cv2", _NAMES)
