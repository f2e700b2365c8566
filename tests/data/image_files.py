"""Images in files, and lists of them, for tests."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image (C, H, W) of bytes; PNG stores it without loss."""
    cv2 = pytest.importorskip("cv2")
    assert cv2.imwrite(str(path), np.ascontiguousarray(image.transpose(1, 2, 0)))


def image_list(folder: Path, images: Iterable[np.ndarray], labels: Iterable[int] | None = None) -> Path:
    """Write a folder of PNG files and ``list.txt``; unless labels are given, each label is the number of its image."""
    folder.mkdir()
    lines = []
    images = list(images)
    for i, (image, label) in enumerate(zip(images, labels or range(len(images)), strict=True)):
        write_image(folder / f"im{i}.png", image)
        lines.append(f"{(folder / f'im{i}.png').as_posix()} {label}\n")
    (folder / "list.txt").write_text("".join(lines), encoding="utf-8")
    return folder / "list.txt"


def pair_list(folder: Path, images: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> Path:
    """Write images (C, H, W) and their labels (H, W) as PNG files, and ``list.txt`` with a pair on each line."""
    folder.mkdir()
    lines = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        write_image(folder / f"im{i}.png", image)
        write_image(folder / f"lab{i}.png", label[None])
        lines.append(f"{(folder / f'im{i}.png').as_posix()} {(folder / f'lab{i}.png').as_posix()}\n")
    (folder / "list.txt").write_text("".join(lines), encoding="utf-8")
    return folder / "list.txt"


def places(height: int, width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose first channel holds the pixels' rows, its last their columns, and labels that tell both."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([rows, columns, columns][:channels]) if channels > 1 else labels_at(rows, columns)[None]
    return image, labels_at(rows, columns)


def labels_at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return (rows * 13 + columns * 7) % 251


def palette_png(indices: np.ndarray, palette: np.ndarray, depth: int = 8, transparent: bool = False) -> bytes:
    """Return a PNG of indices (H, W) into a palette (n, 3) of R, G, B."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = indices.shape
    bits = (indices[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(height, -1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        *([(b"tRNS", b"\0")] if transparent else []),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)
