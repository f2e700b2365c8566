"""Weights of classes in a loss: rare classes count as much as frequent ones."""

from __future__ import annotations

from ...blobs import Blob
from ...layer import Layer
from ...ops.array import Array


class AdaptiveWeights:
    """The mean of all running frequencies, divided by that of the class; 0 for a class that has not been seen.

    A frequency follows those of the batches: f becomes gamma f + (1 - gamma) times the batch's. The weights are limited
    to min_weight and max_weight, then multiplied by ``scale``.
    """

    def __init__(self, layer: Layer, classes: int) -> None:
        p = layer.param.loss_param
        if not 0 < p.gamma <= 1:
            layer.error(f"gamma is {p.gamma:g}", "use more than 0, and at most 1")
        if p.scale <= 0:
            layer.error(f"scale is {p.scale:g}", "use more than 0")
        least = p.min_weight if p.HasField("min_weight") else 0.0
        most = p.max_weight if p.HasField("max_weight") else float("inf")
        if not 0 <= least < most:
            layer.error(f"min_weight is {least:g}, max_weight {most:g}", "use 0 or more, and a larger max_weight")
        self.gamma, self.scale, self.limits = p.gamma, p.scale, (least, most)
        self.layer, self.ops = layer, layer.ops
        self.frequencies = Blob(layer.ops, (classes,))

    def updated(self, counts: Array) -> Array:
        """Take in how often each class occurs in a batch, and return the weight of each class."""
        ops, running = self.ops, self.frequencies.data
        counts = self.layer.total(counts)
        latest = counts / ops.at_least(ops.sum(counts), 1.0)
        running = ops.where(running > 0, self.gamma * running + (1 - self.gamma) * latest, latest)
        self.frequencies.data = running
        mean = ops.sum(running) / max(1, running.shape[0])
        weights = ops.where(running > 0, mean / ops.at_least(running, 1e-37), ops.scalar(0))
        return self.scale * ops.clamp(weights, *self.limits)
