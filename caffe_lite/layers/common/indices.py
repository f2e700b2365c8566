"""Blobs whose values are indices: checked, and told by the sample where they are wrong."""

from __future__ import annotations

from math import prod

import numpy as np

from ...blobs import Blob
from ...layer import Layer
from ...ops.base import Array


def row_indices(layer: Layer, blob: Blob, count: int, rows: str, hint: str) -> Array:
    """The values of a blob in a row, each truncated to one of ``count`` numbers from 0 on; others are an error.

    ``rows`` is what they number, as a message calls them.
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
    """The first place that is not good, and how a message names it."""
    at = tuple(map(int, np.unravel_index(int(np.argmin(good)), good.shape)))
    place = f" of sample {at[0]}" if at else ""
    if prod(good.shape[1:]) > 1:
        place += f", position {at[1:]},"
    return at, place
