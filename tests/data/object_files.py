"""Files of images with objects for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .image_files import write_image

# class, ignore, difficult, x1, y1, x2, y2
Object = tuple[float, ...]


def object_file(
    folder: Path,
    images: Sequence[tuple[np.ndarray, Sequence[Object]]],
    ignored: Sequence[Sequence[tuple[float, ...]]] = (),
) -> Path:
    """Write a folder of PNG files (C, H, W) with the file of their objects, ``objects.txt``."""
    folder.mkdir()
    lines = []
    for i, (image, objects) in enumerate(images):
        path = folder / f"im{i}.png"
        write_image(path, image)
        lines += [f"# {i}", path.as_posix(), *map(str, image.shape)]
        for rows in (objects, ignored[i] if ignored else ()):
            lines += [str(len(rows)), *(" ".join(map(str, row)) for row in rows)]
    (folder / "objects.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder / "objects.txt"
