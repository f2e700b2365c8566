"""ContrastiveLoss: brings similar pairs close together, and others at least a margin apart."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import LossLayer


@register_layer("ContrastiveLoss")
class ContrastiveLossLayer(LossLayer):
    """loss = 1/(2N) sum_n (d_n^2 if the pair is similar, else max(margin - d_n, 0)^2), with d_n = |a_n - b_n|.

    dloss/da = 1/N (a - b) for a similar pair, else -1/N (a - b) max(margin - d, 0) / (d + 1e-4); dloss/db = -dloss/da.
    With legacy_version, a pair that is not similar costs max(margin - d^2, 0), and its gradient is -1/N (a - b) where
    that cost is above 0.
    Bottoms: a and b, (N, ...), with the same number of values per sample; the similarities, N of them: 0 for pairs that
    are not similar, 1 or more (or -1 or less) for pairs that are. Top: ().
    Reads ``contrastive_loss_param``: margin (1), legacy_version (false).
    The 1e-4, without which d = 0 would have no gradient, is the original's. Source: Hadsell et al. 2006; the original's
    contrastive_loss_layer.cpp. Differences: vectors may have any shape (the original takes only (N, C, 1, 1)); no pairs
    cost 0 (the original gives NaN).
    """

    formula = r"L = \frac{1}{2N} \sum_n s_n d_n^2 + (1 - s_n) \max(m - d_n, 0)^2, \quad d_n = |a_n - b_n|"
    bottoms = (3, 3)
    not_differentiable = (2,)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.contrastive_loss_param
        self.margin, self.legacy = p.margin, p.legacy_version

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        samples = self.check_pairs(bottom)
        if bottom[2].count != samples:
            self.error(
                f"the bottoms {bottom[0].shape} and {bottom[1].shape} make {samples} pairs, "
                f"and the similarities {bottom[2].shape} are {bottom[2].count}",
                "give one number for each pair: 1 for a similar one, else 0",
            )
        self.shape = (samples, bottom[0].count // max(1, samples))
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        a, b = (ops.reshape(blob.data, self.shape) for blob in bottom[:2])
        # As in the original, which truncates similarities to whole numbers.
        similar = ops.abs(ops.reshape(bottom[2].data, self.shape[:1])) >= 1
        self.saved.difference = a - b
        squares = ops.sum(self.saved.difference * self.saved.difference, 1)
        if self.legacy:
            cost = ops.at_least(self.margin - squares, 0.0)
            pull = -ops.sign(cost)
        else:
            distance = ops.sqrt(squares)
            gap = ops.at_least(self.margin - distance, 0.0)
            cost, pull = gap * gap, -gap / (distance + 1e-4)
        self.saved.pull = ops.reshape(ops.where(similar, ops.scalar(1), pull), (-1, 1))
        self.saved.divisor = self.sized_divisor(self.shape[0])
        top[0].data = ops.scalar(ops.sum(ops.where(similar, squares, cost)) / (2 * self.saved.divisor))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[2]:
            self.error(
                "a gradient is asked for the similarities, and there is none",
                "give the layer propagate_down: three times, true, true, and false for the similarities",
            )
        divisors = (self.saved.divisor, -self.saved.divisor)
        for blob, wanted, divisor in zip(bottom, propagate_down, divisors, strict=False):
            if wanted:
                dx = self.saved.difference * (self.saved.pull * (top[0].diff / divisor))
                blob.diff = self.ops.reshape(dx, blob.shape)
