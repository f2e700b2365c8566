"""EuclideanLoss: half the mean squared distance between two bottoms."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import LossLayer


@register_layer("EuclideanLoss")
class EuclideanLossLayer(LossLayer):
    """loss = 1/(2N) sum (a - b)^2; dloss/da = (a - b) / N, dloss/db = -dloss/da: either bottom may be the prediction.

    Bottoms: a and b, (N, ...), with the same number of values per sample, in the same order. Top: ().
    Source: the original's euclidean_loss_layer.cpp. Difference: no samples cost 0 (the original gives NaN).
    """

    formula = r"L = \frac{1}{2N} \sum_n |a_n - b_n|^2"
    not_differentiable = ()

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.samples = max(1, self.check_pairs(bottom))
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.difference = bottom[0].data - self.ops.reshape(bottom[1].data, bottom[0].shape)
        top[0].data = self.ops.scalar(self.ops.sum_of_squares(self.saved.difference) / (2 * self.samples))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted, divisor in zip(bottom, propagate_down, (self.samples, -self.samples), strict=True):
            if wanted:
                blob.diff = self.ops.reshape(self.saved.difference * (top[0].diff / divisor), blob.shape)
