"""Blobs whose values are indices: they are checked, and an error names the sample where one is wrong."""

from __future__ import annotations

from math import prod

import numpy as np

from ...blobs import Blob
from ...layer import Layer
from ...ops.array import Array


def row_indices(layer: Layer, blob: Blob, count: int, rows: str, hint: str) -> Array:
    """Return the values of a blob in one row, truncated to whole numbers; raise an error unless all are valid indices.

    The values must lie from 0 to below ``count``; ``rows`` is what an error message calls the things they number.
    """

    def check(values: np.ndarray) -> None:
        good = (values >= 0) & (values < count)
        if not good.all():
            at, place = first_wrong(good)
            numbers = f"{count} {rows}, 0 to {count - 1}" if count else f"{rows}: there are none"
            layer.error(
                f"index {values[at]:.9g}{place} is none of the {numbers} "
                f"({good.size - int(good.sum())} of {good.size} indices are wrong)",
                hint,
            )

    layer.ops.inspect(blob.data, check)
    return layer.ops.reshape(layer.ops.indices(blob.data), (blob.count,))


def first_wrong(good: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return the first place that is not good, and its name in a message."""
    at = tuple(map(int, np.unravel_index(int(np.argmin(good)), good.shape)))
    place = f" of sample {at[0]}" if at else ""
    if prod(good.shape[1:]) > 1:
        place += f", position {at[1:]},"
    return at, place
