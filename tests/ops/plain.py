"""The plain formulas of base.Ops, and geometries on which to test faster ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from caffe_lite.ops.base import Ops


class ArrayApi:
    """NumPy under the names of the array API, some of which 1.26 lacks."""

    permute_dims = staticmethod(np.transpose)

    @staticmethod
    def matrix_transpose(x: np.ndarray) -> np.ndarray:
        return np.swapaxes(x, -1, -2)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class Plain(Ops):
    """The unchanged formulas."""

    array_type = np.ndarray

    def __init__(self, dtype: str) -> None:
        super().__init__(ArrayApi(), dtype)

    def copy(self, x: np.ndarray) -> np.ndarray:
        return np.copy(x)


@dataclass
class Geometry:
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]


@st.composite
def poolings(draw: st.DrawFn, channels: tuple[int, int] = (1, 3)) -> tuple[Geometry, tuple[int, ...]]:
    """Draw any geometry of pooling and its outputs: windows may overlap, leave gaps, cross the edge or be beyond it."""

    def sizes(least: int, most: int) -> tuple[int, int]:
        return draw(st.integers(least, most)), draw(st.integers(least, most))

    image, kernel, stride = sizes(1, 9), sizes(1, 4), sizes(1, 5)
    pad = (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1)))
    geometry = Geometry((draw(st.integers(1, 3)), draw(st.integers(*channels)), *image), kernel, stride, pad, (1, 1))
    out = tuple(max(1, -(-(n + 2 * p - k) // s) + 1) for n, k, s, p in zip(image, kernel, stride, pad, strict=True))
    return geometry, out
