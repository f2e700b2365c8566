"""TripletLoss: an anchor should be nearer to its positive sample than to its negative one, by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import LossLayer


@register_layer("TripletLoss")
class TripletLossLayer(LossLayer):
    """loss = 1/(2N) sum_n max(margin + |a_n - p_n|^2 - |a_n - q_n|^2, 0).

    Where that is above 0, dloss/da = (q - p) / N, dloss/dp = (p - a) / N, dloss/dq = (a - q) / N.
    Bottoms: the anchors a, the positive samples p, the negative samples q: (N, ...), all of the same size. Top: ().
    Reads ``triplet_loss_param``: margin (1).
    Source: Schroff, Kalenichenko and Philbin 2015 (FaceNet); happynear's triplet_loss_layer.cpp. Differences: vectors
    may have any shape (the original takes only (N, C, 1, 1)); no samples cost 0 (the original gives NaN).
    """

    formula = r"L = \frac{1}{2N} \sum_n \max(m + \lVert a_n - p_n \rVert^2 - \lVert a_n - q_n \rVert^2, 0)"
    bottoms = (3, 3)
    not_differentiable: ClassVar[tuple[int, ...]] = ()

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        samples = self.check_pairs(bottom)
        self.check_pairs([bottom[0], bottom[2]])
        self.shape = (samples, bottom[0].count // max(1, samples))
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, saved = self.ops, self.saved
        a, p, q = (ops.reshape(blob.data, self.shape) for blob in bottom)
        saved.ap, saved.aq = a - p, a - q
        near, far = ops.sum(saved.ap * saved.ap, 1), ops.sum(saved.aq * saved.aq, 1)
        losses = ops.at_least(near - far + self.param.triplet_loss_param.margin, 0.0)
        saved.costs = ops.reshape(ops.sign(losses), (-1, 1))
        saved.divisor = self.sized_divisor(self.shape[0])
        top[0].data = ops.scalar(ops.sum(losses) / (2 * saved.divisor))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        saved = self.saved
        scale = saved.costs * (top[0].diff / saved.divisor)
        directions = (saved.ap - saved.aq, -saved.ap, saved.aq)
        for blob, wanted, direction in zip(bottom, propagate_down, directions, strict=True):
            if wanted:
                blob.diff = self.ops.reshape(direction * scale, blob.shape)
