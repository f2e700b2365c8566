"""Images in files and in memory, encoded (JPEG, PNG, ...), turned into arrays by OpenCV as in the original."""

from __future__ import annotations

import os
import sys
from math import prod
from typing import Any

import numpy as np

from ...errors import DataError, MissingExtra, Where
from ..paths import resolve, searched
from .image_size import stated_size

BYTE = np.dtype(np.uint8)


# Larger images are not decoded: a quarter of OpenCV's limit, whose environment variable means the same here.
MOST_PIXELS = 2**28
_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"


def import_cv2() -> Any:
    """Import OpenCV so that it refuses images of too many pixels, unless other code has imported it before."""
    first = "cv2" not in sys.modules and _VARIABLE not in os.environ
    if first:
        os.environ[_VARIABLE] = str(MOST_PIXELS)
    try:
        import cv2
    except ImportError:
        raise MissingExtra("opencv-python-headless", "data", "read encoded images") from None
    finally:
        if first:
            del os.environ[_VARIABLE]
    return cv2


def decode_image(data: bytes, color: bool | None = None) -> np.ndarray:
    """Decode an image to (H, W, 3) in the order B, G, R or to (H, W): in color, in gray, or by default as it is stored.

    Raise DataError, before the image takes memory, if it has more pixels than MOST_PIXELS or the environment's
    OPENCV_IO_MAX_IMAGE_PIXELS.
    """
    cv2 = import_cv2()
    flag = cv2.IMREAD_UNCHANGED if color is None else cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE
    size = stated_size(data)
    if size and prod(size) > _most_pixels():
        raise _too_large("its image is {} x {} (H x W)".format(*size))
    image: Any = None
    if data:
        try:
            image = cv2.imdecode(np.frombuffer(data, BYTE), flag)
        except (cv2.error, MemoryError) as error:
            if "CV_IO_MAX_IMAGE_PIXELS" in str(error):
                raise _too_large("its image is too large") from None
            raise DataError(f"OpenCV cannot decode its image: {error}") from error
    if image is None:
        raise DataError("OpenCV cannot decode its image", hint="It is damaged, or of a format this OpenCV lacks")
    return image


def _most_pixels() -> int:
    set_by_user = os.environ.get(_VARIABLE, "")
    return int(set_by_user) if set_by_user.isdecimal() else MOST_PIXELS


def _too_large(what: str) -> DataError:
    return DataError(
        f"{what}: more than {_most_pixels():,} pixels are not decoded",
        hint=f"Make it smaller first, or set {_VARIABLE} in the environment",
    )


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image with bilinear interpolation."""
    cv2 = import_cv2()
    try:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    except (cv2.error, MemoryError) as error:
        raise DataError(f"OpenCV cannot make it {height} x {width}: {error}") from error


def channels_first(image: np.ndarray) -> np.ndarray:
    """Return an image in OpenCV's form as (C, H, W)."""
    return image.transpose(2, 0, 1) if image.ndim == 3 else image[None]


def read_image_file(path: str, where: Where | None) -> bytes:
    """Read an image file, which ``resolve`` finds."""
    try:
        with open(resolve(path, where), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise DataError(
            f"it is not there: looked for {searched(path, where)}", hint="Correct the path, or root_folder before it"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: characters that no path can have
        raise DataError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error
