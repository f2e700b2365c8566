"""Images in files and in memory, encoded (JPEG, PNG, ...), turned into arrays by OpenCV as in the original."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, MissingExtra, Where
from .paths import resolve, searched

BYTE = np.dtype(np.uint8)


def import_cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtra("opencv-python-headless", "data", "read encoded images") from None
    return cv2


def decode_image(data: bytes, color: bool | None = None) -> np.ndarray:
    """The image, (H, W, 3) in the order B, G, R or (H, W); in color or in gray, or without a word as it is stored."""
    cv2 = import_cv2()
    flag = cv2.IMREAD_UNCHANGED if color is None else cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE
    image: Any = None
    if data:
        try:
            image = cv2.imdecode(np.frombuffer(data, BYTE), flag)
        except (cv2.error, MemoryError) as error:
            raise DataError(f"OpenCV cannot decode its image: {error}") from error
    if image is None:
        raise DataError("OpenCV cannot decode its image", hint="It is damaged, or of a format this OpenCV lacks")
    return image


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image in another size, with bilinear interpolation."""
    cv2 = import_cv2()
    try:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    except (cv2.error, MemoryError) as error:
        raise DataError(f"OpenCV cannot make it {height} x {width}: {error}") from error


def channels_first(image: np.ndarray) -> np.ndarray:
    """(C, H, W) of an image as OpenCV has it."""
    return image.transpose(2, 0, 1) if image.ndim == 3 else image[None]


def read_image_file(path: str, where: Where | None) -> bytes:
    """What the file of an image holds; ``resolve`` finds it."""
    try:
        with open(resolve(path, where), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise DataError(
            f"it is not there: looked for {searched(path, where)}", hint="Correct the path, or root_folder before it"
        ) from None
    except (OSError, ValueError) as error:  # a ValueError for characters that no path can have
        raise DataError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error
