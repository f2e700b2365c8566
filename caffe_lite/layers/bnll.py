"""BNLL: the binomial normal log likelihood, a smooth ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("BNLL")
class BNLLLayer(Layer):
    """y = ln(1 + e^x), computed as max(x, 0) + ln(1 + e^-|x|), which never overflows; dy/dx = 1 / (1 + e^-x).

    Bottom and top: any shape. Source: the original's bnll_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \ln(1 + e^x)"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[0].data
        self.saved.e = self.ops.exp(-self.ops.abs(self.saved.x))
        top[0].data = self.ops.at_least(self.saved.x, 0.0) + self.ops.log1p(self.saved.e)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Softplus(bottom[0])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            slope = self.ops.where(self.saved.x > 0, self.ops.scalar(1), self.saved.e) / (1 + self.saved.e)
            bottom[0].diff = top[0].diff * slope
