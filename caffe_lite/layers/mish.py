"""Mish: the input times the hyperbolic tangent of its softplus."""

from __future__ import annotations

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("Mish")
class MishLayer(NeuronLayer):
    """y = x tanh(ln(1 + e^x)).

    Bottom and top: any shape.
    Source: Misra 2019; mish_layer.cpp of Synopsys' Caffe. Difference: the gradient is that of the formula (Synopsys'
    computes it at y instead of x).
    """

    formula = r"y = x \tanh(\ln(1 + e^x))"

    def value(self, x: Array) -> Array:
        return self.ops.mish(x)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        y: Value = g.Mul(x, g.Tanh(g.Softplus(x)))
        return y

    def gradient(self, dy: Array, x: Array) -> Array:
        return self.ops.mish_backward(dy, x)
