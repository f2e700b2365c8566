"""Images (C, H, W) in the form that OpenCV takes, and back; and what the steps of augmentation ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import DataError
from ..images.image import BYTE, channels_first, import_cv2

CvFunction = Callable[[np.ndarray], np.ndarray]


def through_cv2(image: np.ndarray, function: CvFunction) -> np.ndarray:
    """Apply a function of arrays (H, W, C), or (H, W) for one channel, to an image (C, H, W)."""
    cv2 = import_cv2()
    array = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    try:
        return channels_first(function(np.ascontiguousarray(array)))
    except (cv2.error, MemoryError) as error:
        raise DataError(f"OpenCV cannot change it: {error}") from error


def look_up(array: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Replace each byte v by values[v], rounded, between 0 and 255."""
    table = np.clip(np.rint(values), 0, 255).astype(BYTE)
    result: np.ndarray = import_cv2().LUT(array, table)
    return result


def require_bytes(image: np.ndarray, step: str) -> None:
    if image.dtype != BYTE:
        raise DataError(
            f"{step} changes images of bytes only, and its values are of type {image.dtype}",
            hint=f"Remove {step} from transform_param, or store the images as bytes",
        )


def require_color(image: np.ndarray, step: str) -> None:
    if len(image) != 3:
        raise DataError(
            f"{step} needs images of 3 channels, and it has {len(image)}",
            hint="Set force_color in transform_param if the images are encoded, or leave this out",
        )


def per_channel(values: Sequence[float], channels: int, field: str) -> np.ndarray:
    """Return one value per channel of a field that may hold just one for all."""
    if len(values) not in (1, channels):
        raise DataError(
            f"{field} is given {len(values)} times, the image has {channels} channels",
            hint="Give it once, or once per channel",
        )
    return np.broadcast_to(np.array(values, np.float32), (channels,))
