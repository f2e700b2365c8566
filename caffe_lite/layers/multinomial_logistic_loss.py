"""MultinomialLogisticLoss: the cross entropy between probabilities and class labels."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import LossLayer, class_labels

# The original's kLOG_THRESHOLD: a smaller probability counts as this.
SMALLEST = 1e-20


@register_layer("MultinomialLogisticLoss")
class MultinomialLogisticLossLayer(LossLayer):
    """loss = -1/N sum_n ln max(p_n(y_n), 1e-20), with y the labels; dloss/dp_n(y_n) = -1 / (N max(p_n(y_n), 1e-20)).

    Bottoms: probabilities (N, C, ...), where everything after the first axis is classes; labels, N of them. Top: ().
    Source: the original's multinomial_logistic_loss_layer.cpp. Prefer SoftmaxWithLoss, whose gradient is stable.
    Differences: a label that is not a class is an error (the original reads memory beyond the probabilities); no
    samples cost 0 (the original gives NaN).
    """

    formula = r"L = -\frac{1}{N} \sum_n \ln p_n(y_n)"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.shape = self.samples_and_classes(bottom)
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        self.saved.index, _ = class_labels(self, bottom[1], self.shape, 1, ignorable=False)
        self.saved.prob = ops.at_least(ops.pick(ops.reshape(bottom[0].data, self.shape), self.saved.index, 1), SMALLEST)
        self.saved.divisor = self.sized_divisor(self.shape[0])
        top[0].data = ops.scalar((0.0 - ops.sum(ops.log(self.saved.prob))) / self.saved.divisor)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if propagate_down[0]:
            scale = top[0].diff / -self.saved.divisor / self.saved.prob
            dp = self.ops.one_hot(self.saved.index, self.shape[1], 1) * scale
            bottom[0].diff = self.ops.reshape(dp, bottom[0].shape)
