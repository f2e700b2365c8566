"""Blobs from images, and images from blobs: OpenCV's own functions where it is installed, the same without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..media.bilinear import resize
from ..plugins import is_installed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CV_8U, CV_32F = 0, 5


def blobFromImage(
    image: np.ndarray,
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: ArrayLike = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> np.ndarray:
    """Return the blob (1, C, H, W) of an image (H, W, C) or (H, W): see ``blobFromImages``."""
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(
    images: Sequence[np.ndarray],
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: ArrayLike = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> np.ndarray:
    """Return the blob (N, C, H, W) of images (H, W, C) or (H, W): (image - mean) scalefactor.

    Args:
        size: (width, height) of the blob; (0, 0) is the images' own.
        mean: a number for each channel, in the order of the blob's channels.
        swapRB: exchange the first channel and the third.
        crop: keep the images' shape, and cut their middle out; without it, all of an image is squeezed into the size.
        ddepth: CV_32F, or CV_8U for bytes, which leaves no room for a scalefactor or a mean.
    """
    if is_installed("cv2"):
        import cv2

        blob: np.ndarray = cv2.dnn.blobFromImages(
            images, scalefactor, tuple(map(int, size)), _four(mean).tolist(), swapRB, crop, ddepth
        )
        return blob
    if ddepth == CV_8U and (scalefactor != 1 or _four(mean).any()):
        raise ArgumentError("a blob of bytes takes no scalefactor and no mean", hint="leave out ddepth")
    width, height = (int(n) for n in size)
    return np.stack(
        [_channels(_sized(image, height, width, crop), scalefactor, _four(mean), swapRB, ddepth) for image in images]
    )


def _four(mean: ArrayLike) -> np.ndarray:
    """Return the mean as OpenCV's Scalar: numbers that are not given are 0."""
    given = np.atleast_1d(np.asarray(mean, np.float64)).ravel()
    return np.concatenate([given, np.zeros(4)])[:4]


def _sized(image: np.ndarray, height: int, width: int, crop: bool) -> np.ndarray:
    old_height, old_width = image.shape[:2]
    if not (height and width) or (height, width) == (old_height, old_width):
        return image
    if not crop:
        return resize(image, height, width)
    factor = max(width / old_width, height / old_height)
    larger = resize(image, round(old_height * factor), round(old_width * factor), factor)
    top, left = (larger.shape[0] - height) // 2, (larger.shape[1] - width) // 2
    return larger[top : top + height, left : left + width]


def _channels(image: np.ndarray, scale: float, mean: np.ndarray, swap: bool, depth: int) -> np.ndarray:
    channels = np.moveaxis(image[..., None] if image.ndim == 2 else image, -1, 0)
    if len(channels) not in (1, 3, 4):
        raise ArgumentError(f"an image has the shape {image.shape}", hint="it has 1, 3 or 4 channels, or two axes")
    if swap and len(channels) > 2:
        channels = channels[[2, 1, 0, 3][: len(channels)]]
    if depth == CV_8U:
        return channels.astype(np.uint8)
    values = channels.astype(np.float32)
    values -= mean[: len(values), None, None].astype(np.float32)
    values *= np.float32(scale)
    return values


def imagesFromBlob(blob: np.ndarray, images: Any = None) -> tuple[np.ndarray, ...]:
    """Return the images (H, W, C), or (H, W) if there is one channel, of a blob (N, C, H, W)."""
    if np.ndim(blob) != 4:
        raise ArgumentError(f"the blob has the shape {np.shape(blob)}", hint="it needs four axes: (N, C, H, W)")
    rows = np.ascontiguousarray(np.moveaxis(blob, 1, -1))
    return tuple(image[..., 0] if image.shape[-1] == 1 else image for image in rows)
