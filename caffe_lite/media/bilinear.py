"""Bilinear resizing as OpenCV does it, bytes within 1 of it, for where OpenCV is not installed."""

from __future__ import annotations

import numpy as np

_BITS = 11  # of OpenCV's weights for bytes


def resize(image: np.ndarray, height: int, width: int, factor: float | None = None) -> np.ndarray:
    """Return an image (H, W) or (H, W, C), of uint8 or of floats, in another size.

    The factor is that of both sides, if the size is a rounded one.

    Source: OpenCV's INTER_LINEAR. Pixels have their centres at halves; beyond the border its pixels go on. Bytes are
    weighted with whole numbers, and halving both sides averages four pixels.
    """
    old_height, old_width = image.shape[:2]
    if (old_height, old_width) == (2 * height, 2 * width):
        return _halved(image)
    top, bottom, y = _places(old_height, height, factor)
    left, right, x = _places(old_width, width, factor)
    y, x = (weight.reshape(-1, *[1] * (image.ndim - axis)) for weight, axis in ((y, 1), (x, 2)))
    if image.dtype != np.uint8:
        rows = image[:, left] * (1 - x) + image[:, right] * x
        return rows[top] * (1 - y) + rows[bottom] * y
    y0, y1, x0, x1 = (np.rint(weight * 2**_BITS).astype(np.int32) for weight in (1 - y, y, 1 - x, x))
    rows = (image[:, left] * x0 + image[:, right] * x1) >> 4
    return (((rows[top] * y0 >> 16) + (rows[bottom] * y1 >> 16) + 2) >> 2).astype(np.uint8)


def _places(old: int, new: int, factor: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two pixels from which each new one is made, and the weight of the second, in float32."""
    at = ((np.arange(new) + 0.5) * (1 / factor if factor else old / new) - 0.5).astype(np.float32)
    first = np.floor(at).astype(int)
    weight = at - first.astype(np.float32)
    weight[(first < 0) | (first >= old - 1)] = 0
    first = first.clip(0, old - 1)
    return first, (first + 1).clip(0, old - 1), weight


def _halved(image: np.ndarray) -> np.ndarray:
    wide = image.astype(np.int32) if image.dtype == np.uint8 else image
    total = wide[::2, ::2] + wide[::2, 1::2] + wide[1::2, ::2] + wide[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8) if image.dtype == np.uint8 else total / 4
