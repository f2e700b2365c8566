"""What ImageLabelmapData does with pairs of images and maps of edges."""

from __future__ import annotations

import numpy as np

from ..images.image import decode_image, resize_image
from ..transform import Shape
from .pairs import PairBatches

_EDGE = 128  # the least gray value of an edge


class EdgeBatches(PairBatches):
    """Pairs whose labels are 1 where a gray map, resized as its image, is at least 128, and else 0."""

    def labels(self, record: int, original: Shape, size: tuple[int, int]) -> np.ndarray:
        gray = self.label_image(record, lambda data: decode_image(data, color=False))
        self.check_size(record, gray, original)
        if self.reading.height:
            gray = resize_image(gray, *size)
        return (gray >= _EDGE).view(np.uint8)
