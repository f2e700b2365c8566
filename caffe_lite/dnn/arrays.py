"""Arrays in the form in which OpenCV gives them."""

from __future__ import annotations

import numpy as np


def as_opencv(array: np.ndarray) -> np.ndarray:
    """Return a copy as a Mat holds it: float32, and with two axes at least, as (N, 1) if it had one."""
    copy = np.array(array, np.float32, order="C")
    return copy.reshape(copy.size, 1) if copy.ndim < 2 else copy
