"""Sigmoid: the logistic function."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Sigmoid")
class SigmoidLayer(Layer):
    """y = 1 / (1 + exp(-x)), computed as tanh(x / 2) / 2 + 1 / 2, which never overflows.

    Bottom and top: any shape. Source: the original's sigmoid_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \frac{1}{1 + e^{-x}}"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.y = top[0].data = self.ops.sigmoid(bottom[0].data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Sigmoid(bottom[0])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = top[0].diff * self.saved.y * (1 - self.saved.y)
