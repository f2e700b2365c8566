"""Colours for the classes of pixels: those of PASCAL VOC and of Cityscapes, or of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.images.image import BYTE, decode_image
from ..data.images.label_image import read_palette
from ..errors import DataError, Where
from ..files.paths import system_path

COLORS = 256
# Road, sidewalk, building, wall, fence, pole, light, sign, vegetation, terrain, sky, person, rider, car, truck, bus,
# train, motorcycle, bicycle; all others are black.
_CITYSCAPES = (
    *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30)),
    *((220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142)),
    *((0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)


def palette_of(name: str) -> np.ndarray:
    """Return colours (n, 3) in R, G, B: those of ``voc``, of ``cityscapes`` by their trainId, or of a file.

    A file is text with lines of R, G and B, from 0 to 255; a PNG with a palette; or an image whose pixels are the
    colours, row by row, as published with SegNet and ENet.
    """
    if name == "voc":
        return _voc()
    if name == "cityscapes":
        return np.array([*_CITYSCAPES, *[(0, 0, 0)] * (COLORS - len(_CITYSCAPES))], BYTE)
    try:
        data = Path(system_path(name)).read_bytes()
        colors = _from_text(data) if name.lower().endswith(".txt") else _from_image(data)
    except OSError as error:
        raise DataError(f"the palette cannot be read: {error.strerror}", where=Where(name)) from error
    except DataError as error:
        raise DataError(f"the palette cannot be used: {error.what}", where=Where(name), hint=error.hint) from error
    if not 1 <= len(colors) <= COLORS:
        raise DataError(f"the palette has {len(colors)} colours", where=Where(name), hint=f"give it 1 to {COLORS}")
    return colors


def _voc() -> np.ndarray:
    """Spread the bits of each label over the highest bits of red, green and blue, three at a time."""
    labels = np.arange(COLORS)
    colors = np.zeros((COLORS, 3), BYTE)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((labels >> (3 * bit + channel) & 1) << (7 - bit)).astype(BYTE)
    return colors


def _from_text(data: bytes) -> np.ndarray:
    colors = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        words = line.replace(",", " ").split()
        if len(words) != 3 or not all(word.isascii() and word.isdecimal() and int(word) < COLORS for word in words):
            raise DataError(f"line {number} is {line.strip()!r}", hint="write R, G and B, from 0 to 255, on each line")
        colors.append([int(word) for word in words])
    return np.array(colors, BYTE).reshape(-1, 3)


def _from_image(data: bytes) -> np.ndarray:
    palette = read_palette(data)
    return palette if palette is not None else decode_image(data, color=True)[:, :, ::-1].reshape(-1, 3)


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """Return an image (H, W, 3) with the colours of its pixels' classes over it; black ones leave it as it is."""
    share = np.where(colors.any(2, keepdims=True), np.float32(opacity), np.float32(0))
    return np.rint(image * (1 - share) + colors * share).astype(BYTE)
