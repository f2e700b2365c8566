"""Images whose pixels are the numbers of classes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from ...errors import DataError
from .image import BYTE, decode_image, import_cv2

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOR_TYPE = 8, 9  # places in a PNG's header
_GRAY, _PALETTE = 0, 3  # colour types


def decode_label_image(data: bytes) -> np.ndarray:
    """Decode an image to the labels (H, W) of its pixels: its gray values, of 8 or 16 bits.

    In a PNG with a palette the labels are the indices, unless all its colours are gray: those stand for their values.
    Raise DataError for any other image in colour.
    """
    colors = read_palette(data)
    header = bytearray(dict(_png_chunks(data)).get(b"IHDR", b""))
    if colors is not None and (colors != colors[:, :1]).any() and header[_COLOR_TYPE : _COLOR_TYPE + 1] == b"\x03":
        header[_COLOR_TYPE] = _GRAY
        indices = decode_image(_png(bytes(header), data))
        # OpenCV stretches gray values of fewer bits to the range of a byte.
        return indices // (255 // (2 ** header[_DEPTH] - 1))
    image = decode_image(data)
    if image.ndim == 3:
        image = image[:, :, :3]
        if (image != image[:, :, :1]).any():
            raise DataError("it is in colour", hint="Write labels as a gray image, or as a PNG with a palette")
        image = image[:, :, 0]
    if image.dtype.kind != "u":
        raise DataError(f"its pixels are of type {image.dtype}", hint="Write labels as whole numbers of 8 or 16 bits")
    return image


def encode_label_image(labels: np.ndarray, palette: np.ndarray) -> bytes:
    """Return a PNG of labels (H, W) of bytes, as indices into a palette (n, 3) of R, G, B."""
    data = import_cv2().imencode(".png", labels)[1].tobytes()
    header = bytearray(dict(_png_chunks(data))[b"IHDR"])
    header[_COLOR_TYPE] = _PALETTE
    return _png(bytes(header), data, (b"PLTE", palette.astype(BYTE).tobytes()))


def read_palette(data: bytes) -> np.ndarray | None:
    """Return the palette (n, 3) of a PNG, in R, G, B, or None if it has none."""
    palette = dict(_png_chunks(data)).get(b"PLTE", b"")
    return np.frombuffer(palette, BYTE).reshape(-1, 3) if palette and len(palette) % 3 == 0 else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Go through the chunks of a PNG, with their names; there are none if it is another file."""
    at = len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12


def _png(header: bytes, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with another header, without what may not fit it, and with more chunks."""
    chunks = [(b"IHDR", header), *more, *(chunk for chunk in _png_chunks(data) if chunk[0] in (b"IDAT", b"IEND"))]
    return _SIGNATURE + b"".join(
        len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        for name, content in chunks
    )
