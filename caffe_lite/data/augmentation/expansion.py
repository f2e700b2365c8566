"""expand_param: an image somewhere in a larger one of its mean colour, so that its objects become small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import ExpansionParameter
from ..images.image import BYTE
from .pixels import per_channel


def check_expansion(param: ExpansionParameter) -> None:
    """Refuse an expand_param that would make images smaller."""
    if not 1 <= param.max_expand_ratio < np.inf:
        raise LayerError(
            f"max_expand_ratio in expand_param is {param.max_expand_ratio:g}", hint="It must be at least 1"
        )


def expand(
    param: ExpansionParameter, image: np.ndarray, mean: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the larger image (C, H, W), and its window in fractions of the given one; or None if it stays as it is.

    Reads ``expand_param``: prob (1); max_expand_ratio (1), the most by which width and height are multiplied. ``mean``
    is the colour around it, for bytes rounded.
    """
    if rng.random() > param.prob or abs(param.max_expand_ratio - 1) < 0.01:
        return None
    ratio = rng.uniform(1, param.max_expand_ratio)
    channels, *old = image.shape
    height, width = (int(size * ratio) for size in old)
    top, left = (int(rng.uniform(0, new - size)) for new, size in zip((height, width), old, strict=True))
    color = per_channel(mean, channels, "mean_value")
    color = np.clip(np.rint(color), 0, 255) if image.dtype == BYTE else color
    rows = np.empty((height, width * channels), image.dtype)
    rows[:] = np.tile(color, width)
    expanded = rows.reshape(height, width, channels)
    expanded[top : top + old[0], left : left + old[1]] = image.transpose(1, 2, 0)
    window = np.array([-left, -top, width - left, height - top], np.float32) / np.array(old[::-1] * 2, np.float32)
    return expanded.transpose(2, 0, 1), window
