"""Regions drawn for training: objects and background, and what moves the regions to the objects."""

from __future__ import annotations

import numpy as np

from .config import cfg


def draw_regions(overlaps: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Return the positions of the regions drawn by their overlaps with objects, objects first, and how many these are.

    They are drawn from NumPy's global random numbers, in the original's order.
    """
    config = cfg.TRAIN
    objects = np.flatnonzero(overlaps >= config.FG_THRESH)
    background = np.flatnonzero((overlaps < config.BG_THRESH_HI) & (overlaps >= config.BG_THRESH_LO))
    most = min(int(np.round(config.FG_FRACTION * count)), len(objects))
    if len(objects):
        objects = np.random.choice(objects, most, replace=False)
    if len(background):
        background = np.random.choice(background, min(count - most, len(background)), replace=False)
    return np.append(objects, background), most


def by_class(labels: np.ndarray, deltas: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return deltas (R, 4) in the columns of their labels, (R, 4 num_classes), and as many weights, 0 elsewhere."""
    targets, weights = np.zeros((2, len(labels), num_classes, 4), np.float32)
    objects = np.flatnonzero(labels > 0)
    targets[objects, labels[objects].astype(int)] = deltas[objects]
    weights[objects, labels[objects].astype(int)] = cfg.TRAIN.BBOX_INSIDE_WEIGHTS
    return targets.reshape(len(labels), -1), weights.reshape(len(labels), -1)
