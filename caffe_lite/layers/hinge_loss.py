"""HingeLoss: one class against all others, with a margin of 1."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..proto.caffe_pb2 import HingeLossParameter
from .common.loss import LossLayer, class_labels


@register_layer("HingeLoss")
class HingeLossLayer(LossLayer):
    """loss = 1/N sum_nk h_nk (L1) or 1/N sum_nk h_nk^2 (L2), h_nk = max(0, 1 + s_nk x_nk), s = -1 at the label, else 1.

    dloss/dx = s / N where h > 0 (L1), 2 s h / N (L2).
    Bottoms: scores x (N, K, ...), where everything after the first axis is classes; labels, N of them. Top: ().
    Reads ``hinge_loss_param``: norm (L1).
    Source: the original's hinge_loss_layer.cpp. Differences: a label that is not a class is an error (the original
    changes memory beyond the scores); no samples cost 0 (the original gives NaN).
    """

    formula = (
        r"L = \frac{1}{N} \sum_n \sum_k \max(0, 1 + s_{nk} x_{nk})^q, \quad "
        r"s_{nk} = \begin{cases} -1 & k = y_n \\ 1 & \text{else} \end{cases}"
    )

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.squared = self.param.hinge_loss_param.norm == HingeLossParameter.L2

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.shape = self.samples_and_classes(bottom)
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        index, _ = class_labels(self, bottom[1], self.shape, 1, ignorable=False)
        self.saved.sign = 1 - 2 * ops.one_hot(index, self.shape[1], 1)
        self.saved.h = ops.at_least(1 + self.saved.sign * ops.reshape(bottom[0].data, self.shape), 0.0)
        total = ops.sum_of_squares(self.saved.h) if self.squared else ops.sum(self.saved.h)
        self.saved.divisor = self.sized_divisor(self.shape[0])
        top[0].data = ops.scalar(total / self.saved.divisor)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if propagate_down[0]:
            slope = 2 * self.saved.h if self.squared else self.ops.sign(self.saved.h)
            dx = self.saved.sign * slope * (top[0].diff / self.saved.divisor)
            bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)
