"""Images in files, and lists of them, for tests."""

from __future__ import annotations

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
