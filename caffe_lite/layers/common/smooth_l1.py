"""The smooth L1 function: half the square near 0, linear beyond."""

from __future__ import annotations

from ...ops.array import Array
from ...ops.base import Ops


def slope(ops: Ops[Array], x: Array, width: float = 1.0) -> Array:
    """Return the derivative of ``smooth_l1``: x / width, limited to -1 to 1."""
    return ops.at_most(ops.at_least(x / width, -1.0), 1.0)


def smooth_l1(x: Array, slope: Array, width: float = 1.0) -> Array:
    """Return x^2 / (2 width) where |x| < width, else |x| - width / 2, given its derivative there."""
    return slope * (x - slope * (width / 2))
