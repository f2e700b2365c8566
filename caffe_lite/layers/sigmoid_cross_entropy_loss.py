"""SigmoidCrossEntropyLoss: the cross entropy with any number of independent yes-or-no targets."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import BATCH_SIZE, LossLayer, ignored_label, normalization, normalizer


@register_layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLossLayer(LossLayer):
    """loss = -1/Z sum_i t_i ln p_i + (1 - t_i) ln(1 - p_i), with p = sigmoid(x); dloss/dx = (p - t) / Z, 0 if ignored.

    Computed as max(x, 0) - x t + ln(1 + exp(-|x|)), which never overflows.
    Bottoms: scores (N, ...); as many targets, from 0 to 1, in the same order; optionally as many weights, by which the
    terms are multiplied. Z is then their sum, or 1 if that is not above 0, and loss_param must be empty. Top: ().
    Reads ``loss_param``: ignore_label (none); normalization (BATCH_SIZE, unlike other losses), which sets Z: N for
    BATCH_SIZE, the number of targets for FULL, of those not ignored for VALID, pre_fixed_normalizer (1) for PRE_FIXED,
    1 for NONE, and never less than 1; normalize, if normalization is not set: true stands for VALID, false for
    BATCH_SIZE.
    Source: the original's sigmoid_cross_entropy_loss_layer.cpp; weights are those of MNC's Caffe. As in the original,
    targets are truncated before they are compared with ignore_label: with ignore_label 0, a target of 0.5 is ignored
    too. Difference: with weights that are all 0, the loss is 0 (MNC's keeps that of the pass before).
    """

    bottoms = (2, 3)
    not_differentiable = (1, 2)
    formula = r"L = -\frac{1}{Z} \sum_i t_i \ln p_i + (1 - t_i) \ln(1 - p_i), \quad p_i = \frac{1}{1 + e^{-x_i}}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.ignore = ignored_label(self.param.loss_param)
        self.normalization = normalization(self.param.loss_param, BATCH_SIZE)
        if len(bottom) > 2 and self.param.loss_param.ListFields():
            self.error("it has weights and loss_param", "leave out loss_param: a weight of 0 ignores a target")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_first_axis(bottom)
        if bottom[0].count != bottom[1].count:
            self.error(
                f"the scores {bottom[0].shape} need {bottom[0].count} targets, "
                f"and the targets {bottom[1].shape} are {bottom[1].count}",
                "give one target for each score (for class numbers use SoftmaxWithLoss)",
            )
        for weights in bottom[2:]:
            self.check_pairs([bottom[0], weights])
        self.samples = bottom[0].shape[0] if bottom[0].shape else 1
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        self.saved.x = bottom[0].data
        self.saved.target = ops.reshape(bottom[1].data, bottom[0].shape)
        losses = ops.sigmoid_cross_entropy(self.saved.x, self.saved.target)
        self.saved.valid = self.saved.weights = None
        if self.ignore is not None:
            self.saved.valid = ops.indices(self.saved.target) != self.ignore
            losses = ops.where(self.saved.valid, losses, ops.scalar(0))
        if len(bottom) > 2:
            self.saved.weights = ops.reshape(bottom[2].data, bottom[0].shape)
            losses = losses * self.saved.weights
            total = self.total(ops.sum(self.saved.weights))
            self.saved.normalizer = self.fixed_divisor(1) * ops.where(total > 0, total, ops.scalar(1))
        else:
            count = bottom[1].count
            self.saved.normalizer = normalizer(self, self.normalization, self.samples, count, self.saved.valid)
        top[0].data = ops.scalar(ops.sum(losses) / self.saved.normalizer)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        ops = self.ops
        for blob, wanted in zip(bottom[2:], propagate_down[2:], strict=True):
            if wanted:  # as in MNC's nets, where they depend on the regions that are found
                blob.diff = ops.zeros(blob.shape)
        if not propagate_down[0]:
            return
        dx = (ops.sigmoid(self.saved.x) - self.saved.target) * (top[0].diff / self.saved.normalizer)
        if self.saved.weights is not None:
            dx = dx * self.saved.weights
        bottom[0].diff = dx if self.saved.valid is None else ops.where(self.saved.valid, dx, ops.scalar(0))
