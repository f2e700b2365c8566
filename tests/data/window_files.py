"""Window files for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.data.database_files import random_images

from .image_files import write_image

# class, overlap, x1, y1, x2, y2
Window = tuple[int, float, int, int, int, int]


def window_file(folder: Path, images: Sequence[tuple[np.ndarray, Sequence[Window]]]) -> Path:
    """Write a folder of PNG files with their window file, ``windows.txt``."""
    folder.mkdir()
    lines = []
    for i, (image, windows) in enumerate(images):
        path = folder / f"im{i}.png"
        write_image(path, image)
        lines += [f"# {i}", path.as_posix(), *map(str, image.shape), str(len(windows))]
        lines += [" ".join(map(str, window)) for window in windows]
    (folder / "windows.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder / "windows.txt"


def random_windows(folder: Path, count: int) -> Path:
    """Write a window file of so many images, each with two objects and three windows of background."""
    rng = np.random.default_rng(count)
    images = []
    for i in range(count):
        height, width = rng.integers(12, 30, 2).tolist()
        windows = []
        for overlap in (0.5, 0.9, 0.0, 0.2, 0.49):
            x1, x2 = sorted(rng.integers(0, width, 2).tolist())
            y1, y2 = sorted(rng.integers(0, height, 2).tolist())
            windows.append((i % 4 + 1, overlap, x1, y1, x2, y2))
        images.append((random_images(1, (3, height, width), seed=i)[0], windows))
    return window_file(folder, images)
