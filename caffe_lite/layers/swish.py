"""Swish: the input times its own logistic function."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Swish")
class SwishLayer(Layer):
    """y = x * s with s = 1 / (1 + e^(-beta * x)); dy/dx = s + beta * y * (1 - s).

    Bottom and top: any shape. Reads ``swish_param``: beta (1).
    Source: Ramachandran et al. 2017; the original's swish_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \frac{x}{1 + e^{-\beta x}}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.beta = self.param.swish_param.beta

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        self.saved.s = self.ops.sigmoid(self.ops.affine(x, self.beta, 0.0))
        self.saved.y = top[0].data = x * self.saved.s

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Mul(bottom[0], g.Sigmoid(g.affine(bottom[0], self.beta)))]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            slope = self.saved.s + self.ops.affine(self.saved.y * (1 - self.saved.s), self.beta, 0.0)
            bottom[0].diff = top[0].diff * slope
