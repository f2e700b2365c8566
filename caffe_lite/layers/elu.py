"""ELU: the exponential linear unit."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer


@register_layer("ELU")
class ELULayer(Layer):
    """y = x where x > 0, else alpha * (e^x - 1), with dy/dx = alpha * e^x = y + alpha.

    Bottom and top: any shape. Reads ``elu_param``: alpha (1).
    Source: Clevert et al. 2015; the original's elu_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & \text{else} \end{cases}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.alpha = self.param.elu_param.alpha

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        self.saved.x = x
        self.saved.y = top[0].data = ops.where(x > 0, x, self.alpha * ops.expm1(ops.at_most(x, 0.0)))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy = top[0].diff
            bottom[0].diff = self.ops.where(self.saved.x > 0, dy, dy * (self.saved.y + self.alpha))
