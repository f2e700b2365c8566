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
    With a third bottom w, of a's shape, as in naibaf7's Caffe: loss = 1/(2M) sum (w (a - b))^2 with the number M of all
    values, dloss/da = w (a - b) / M; w gets no gradient. That fork divides by M without w, too.
    Source: the original's euclidean_loss_layer.cpp. Difference: no samples cost 0 (the original gives NaN).
    """

    formula = r"L = \frac{1}{2N} \sum_n |a_n - b_n|^2"
    bottoms = (2, 3)
    not_differentiable = ()

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index < 2

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.count = self.check_pairs(bottom)
        if len(bottom) > 2:
            if bottom[2].shape != bottom[0].shape:
                self.error(f"the weights' shape {bottom[2].shape} is not the first bottom's, {bottom[0].shape}")
            self.count = bottom[0].count
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.difference = bottom[0].data - self.ops.reshape(bottom[1].data, bottom[0].shape)
        if len(bottom) > 2:
            self.saved.difference = self.saved.difference * bottom[2].data
        self.saved.divisor = self.sized_divisor(self.count)
        top[0].data = self.ops.scalar(self.ops.sum_of_squares(self.saved.difference) / (2 * self.saved.divisor))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        divisors = (self.saved.divisor, -self.saved.divisor)
        for blob, wanted, divisor in zip(bottom, propagate_down, divisors, strict=False):
            if wanted:
                blob.diff = self.ops.reshape(self.saved.difference * (top[0].diff / divisor), blob.shape)
