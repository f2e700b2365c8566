"""What the steps that give an image a random size have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Size = tuple[int, int]


class Sizing(Protocol):
    """A step that changes the size of an image (C, H, W) at random."""

    def least(self, height: int, width: int) -> Size:
        """Return the smallest height and width that an image of this size may get."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray: ...


def cut_out(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return a part of an image (C, H, W)."""
    return image[:, top : top + height, left : left + width]
