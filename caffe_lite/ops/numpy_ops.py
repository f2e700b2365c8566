"""The NumPy engine: the default, the reference, and always there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Array, Ops


class NumpyOps(Ops):
    name = "numpy"
    array_type = np.ndarray

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(np, dtype)

    def host_view(self, x: Array) -> np.ndarray:
        return x

    # NumPy 1.26 lacks the array API's names for these.

    def copy(self, x: Array) -> Array:
        return np.copy(x)

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        return np.concatenate(list(arrays), axis)

    def transpose(self, x: Array, axes: Sequence[int]) -> Array:
        return np.transpose(x, axes)
