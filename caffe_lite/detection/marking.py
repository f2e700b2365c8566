"""Marking objects in an image: their boxes, names and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence

import numpy as np

from ..data.images.image import import_cv2
from .finder import Found

_GOLDEN = 0.618034  # of the circle of hues, between the colours of two labels


def mark(image: np.ndarray, found: Sequence[Found], name: Callable[[int], str]) -> np.ndarray:
    """Return the image (H, W, 3) with a box around each object, and above it the name of its label and its score."""
    cv2 = import_cv2()
    marked: np.ndarray = image.copy()
    height, width = image.shape[:2]
    size = max(0.35, min(height, width) / 1000)
    thick = max(1, round(2 * size))
    for label, score, box in reversed(found):  # the best on top
        color = color_of(label)
        left, top, right, bottom = (round(edge) for edge in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
        cv2.rectangle(marked, (left, top), (right, bottom), color, thick)
        text = f"{name(label)} {score:.2f}"
        (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        x = max(0, min(left, width - text_width))
        y = max(text_height + below, top)
        cv2.rectangle(marked, (x, y - text_height - below), (x + text_width, y), color, -1)
        cv2.putText(marked, text, (x, y - below), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thick, cv2.LINE_AA)
    return marked


def color_of(label: int) -> tuple[float, ...]:
    """Return a light colour, B, G, R."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1, 0.6, 1)
    return (255 * blue, 255 * green, 255 * red)
