"""MalisLoss: the maximin loss of affinities, for segmentations as components of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from .common.graphs import joined_pairs, spanning_forest
from .common.loss import LossLayer

_NAMES = "(N, E, X), (N, E, Y, X) or (N, E, Z, Y, X)"


@register_layer("MalisLoss")
class MalisLossLayer(LossLayer):
    """loss = 1/2N sum_ij ((1 - c_ij)^2 / P if i and j have the same label, else c_ij^2 / M), over the pairs of pixels.

    c_ij is the affinity of the edge that connects i and j: the smallest one on the path between them whose smallest
    affinity is largest. Pixels with the label 0 do not count. P pairs of a sample have the same label, M pairs do not.
    For the former, an affinity is the smaller one of the predicted and the true one; for the latter, the larger one.
    Bottoms: predicted affinities, between 0 and 1, (N, E, X), (N, E, Y, X) or (N, E, Z, Y, X), with E edges at each
    pixel; the true ones, of the same shape; labels, (N, 1, ...), or (N, 2, ...) with those for different labels first
    and those for equal ones after them; optionally, the place of each edge's other end, E x 3, as steps along Z, Y and
    X. Without it, E is at most 3, and the edges are the last E of +Z, +Y and +X. Tops: the loss, (); optionally, the
    predictions.
    The gradient is -(1 - c_ij) / 2NP or c_ij / 2NM, summed at each edge over the pairs that it connects: half of the
    loss's, and as if the predicted affinity were always the one that counts. Only the predictions get one.
    Source: Turaga and others 2009 (maximin affinity learning); malis_loss_layer.cpp of naibaf7's Caffe.
    Differences: loss_weight counts for the gradient; a batch of several samples has the gradients of all (the original
    has those of the last, not divided by N); steps back are allowed; bottoms whose sizes do not fit are an error as
    soon as the net runs (the original reads outside its memory). A net with this layer cannot be compiled, because it
    makes trees on the host.
    """

    formula = (
        r"L = \frac{1}{2N} \sum_n \left( \frac{1}{P} \sum_{l_i = l_j} (1 - c_{ij})^2 "
        r"+ \frac{1}{M} \sum_{l_i \ne l_j} c_{ij}^2 \right)"
    )
    bottoms = (3, 4)
    tops = (1, 2)

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not 3 <= len(shape) <= 5:
            self.error(f"the affinities' shape {shape} has {len(shape)} axes", f"give {_NAMES}")
        if len(bottom) < 4:
            if shape[1] > 3:
                self.error(f"there are {shape[1]} edges", "give their other ends as fourth bottom, or use 3 at most")
        elif bottom[3].count != 3 * shape[1]:
            self.error(f"the edges' shape is {bottom[3].shape}", f"give Z, Y and X for each of {shape[1]} edges")
        top[0].Reshape(())
        for blob in top[1:]:
            blob.Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_sizes(*(blob.shape for blob in bottom[:3]))
        shape = bottom[0].shape
        predicted, true, labels, *ends = (self.ops.host_view(blob.data) for blob in bottom)
        steps = ends[0].reshape(-1, 3).astype(np.int64) if ends else np.eye(3, dtype=np.int64)[3 - shape[1] :]
        place, u, v = _edges((1, 1, 1, *shape[2:])[-3:], steps)
        labels = labels.reshape(*labels.shape[:2], prod(shape[2:])).astype(np.int64)
        loss, slope = 0.0, np.zeros((shape[0], prod(shape[1:])))
        for n in range(shape[0]):
            for combine, label, same in ((np.maximum, labels[n, 0], False), (np.minimum, labels[n, -1], True)):
                affinity = combine(predicted[n], true[n]).ravel()[place].astype(float)
                tree, share = _maximin(affinity, u, v, label, same)
                error = affinity[tree] - same
                loss += float((error**2 * share).sum()) / 2
                slope[n, place[tree]] += error * share / 2
        divisor = self.sized_divisor(shape[0])
        self.saved.slope = self.ops.asarray(slope.reshape(shape) / divisor)
        top[0].data = self.ops.scalar(loss / divisor)
        if len(top) > 1:
            top[1].data = bottom[0].data

    def _check_sizes(self, shape: tuple[int, ...], true: tuple[int, ...], labels: tuple[int, ...]) -> None:
        if true != shape:
            self.error(f"the true affinities' shape {true} is not that of the predicted ones, {shape}")
        channels = labels[1] if len(labels) > 1 else 0
        if labels != (shape[0], channels, *shape[2:]) or channels not in (1, 2):
            self.error(f"the labels' shape is {labels}", f"give {(shape[0], 1, *shape[2:])}, or 2 channels")

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down[1:]):
            self.error("a gradient is asked for the labels, and there is none", "give them propagate_down: false")
        if propagate_down[0]:
            dx = self.saved.slope * top[0].diff
            bottom[0].diff = dx + top[1].diff if len(top) > 1 and top[1].has_diff else dx


def _edges(size: Sequence[int], steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges whose ends are both in the volume: their places among all E Z Y X, and their two ends."""
    node = np.arange(prod(size)).reshape(size)
    kept = [np.empty((3, 0), np.int64)]
    for e, step in enumerate(steps.tolist()):
        here, there = (
            node[tuple(slice(max(0, -sign * d), max(0, n - max(0, sign * d))) for d, n in zip(step, size, strict=True))]
            for sign in (1, -1)
        )
        kept.append(np.stack([e * node.size + here.ravel(), here.ravel(), there.ravel()]))
    place, u, v = np.concatenate(kept, 1)
    return place, u, v


def _maximin(
    affinity: np.ndarray, u: np.ndarray, v: np.ndarray, labels: np.ndarray, same: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges that connect pairs of pixels, and the share of all pairs that each of them connects.

    The pairs are those of the same label, or of different ones.
    """
    order = np.argsort(-affinity, kind="stable")
    tree = order[spanning_forest(len(labels), u[order], v[order])]
    pairs = joined_pairs(u[tree], v[tree], labels)[0 if same else 1]
    counts = np.unique(labels[labels != 0], return_counts=True)[1]
    equal, every = (int((n * (n - 1) // 2).sum()) for n in (counts, counts.sum()))
    return tree, pairs / max(1, equal if same else every - equal)
