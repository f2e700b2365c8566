"""The size that an encoded image states in its first bytes, for the formats that compress most."""

from __future__ import annotations

import struct

# JPEG's markers that begin a frame, and those not followed by a length.
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
# TIFF's tags for the two sizes, and the struct format of each type that they may have.
_WIDTH, _HEIGHT = 256, 257
_TYPES = {3: "H", 4: "I", 16: "Q"}


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width), or None if the data is of another format, or not an image."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        elif data.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"BM"):
            old = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
        else:
            return None
    except struct.error:  # cut short
        return None
    return abs(height), abs(width)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        at = data.find(b"\xff", at)
        while at >= 0 and data[at : at + 1] == b"\xff":
            at += 1
        (marker,) = struct.unpack_from("B", data, at) if at >= 0 else (0xD9,)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 4)
            return height, width
        if marker in (0xD9, 0xDA):  # the end, or the pixels
            return None
        at += 1 if marker in _BARE or not marker else 1 + struct.unpack_from(">H", data, at + 1)[0]


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    order = "<" if data.startswith(b"I") else ">"
    big = b"+" in data[:4]
    start, count, entry = (
        ("Q", "Q", struct.Struct(order + "HHQ8s")) if big else ("I", "H", struct.Struct(order + "HHI4s"))
    )
    (at,) = struct.unpack_from(order + start, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, data, at)
    first = at + struct.calcsize(order + count)
    sizes = {}
    for offset in range(first, min(first + entries * entry.size, len(data)), entry.size):
        tag, kind, _, value = entry.unpack_from(data, offset)
        if tag in (_WIDTH, _HEIGHT) and kind in _TYPES:
            (sizes[tag],) = struct.unpack_from(order + _TYPES[kind], value)
    return (sizes[_HEIGHT], sizes[_WIDTH]) if len(sizes) == 2 else None
