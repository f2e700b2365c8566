"""Cascade R-CNN's boxes, one number at a time, and nets of one of its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe_lite import TRAIN, Net

from .gradient import Bottom, make_net


def run(
    layer: str, arrays: Sequence[np.ndarray], tops: int = 1, *, engine: str, phase: int = TRAIN, dtype="float32", seed=0
) -> tuple[Net, list[np.ndarray]]:
    """Run a layer over these bottoms; return the net and copies of the tops."""
    bottoms = [Bottom(array.shape, lambda _, array=array: array) for array in arrays]
    net = make_net(layer, bottoms, tops, engine=engine, phase=phase, dtype=dtype, seed=seed)
    net.forward()
    return net, [net.blobs[f"y{i}"].data.copy() for i in range(tops)]


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes, whose ends are pixels."""

    def length(start: float, end: float) -> float:
        return max(0.0, end - start + 1)

    def area(box: Sequence[float]) -> float:
        return length(box[0], box[2]) * length(box[1], box[3])

    shared = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
    union = area(a) + area(b) - shared
    return shared / union if union else 0.0


def moved(box: Sequence[float], deltas: Sequence[float], mean=(0, 0, 0, 0), std=(1, 1, 1, 1)) -> list[float]:
    """Return the box that normalised deltas make of a box."""
    dx, dy, dw, dh = (d * s + m for d, s, m in zip(deltas, std, mean, strict=True))
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    width, height = width * math.exp(dw), height * math.exp(dh)
    return [x - (width - 1) / 2, y - (height - 1) / 2, x + (width - 1) / 2, y + (height - 1) / 2]


def random_regions(rng: np.random.Generator, count: int, images: int = 2, size: float = 100) -> np.ndarray:
    """Return regions (count, 5) of images of size x size pixels."""
    start = rng.uniform(0, size * 0.7, (count, 2))
    end = np.minimum(start + rng.uniform(1, size / 2, (count, 2)), size - 1)
    return np.concatenate([rng.integers(images, size=(count, 1)), start, end], 1)


def norm(mean: Sequence[float], std: Sequence[float], more: str = "") -> str:
    """Return a bbox_reg_param as text."""
    values = [f"bbox_mean: {m}" for m in mean] + [f"bbox_std: {s}" for s in std]
    return f"bbox_reg_param {{ {' '.join(values)} {more} }}"
