"""HardTanH: values limited to -1 and 1."""

from __future__ import annotations

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("HardTanH")
class HardTanHLayer(NeuronLayer):
    """y = min(max(x, -1), 1). The gradient passes where -1 < x < 1.

    Bottom and top: any shape. Source: hard_tanh_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = \min(\max(x, -1), 1)"

    def value(self, x: Array) -> Array:
        return self.ops.clamp(x, -1.0, 1.0)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        y: Value = g.Clip(x, -1.0, 1.0)
        return y

    def gradient(self, dy: Array, x: Array) -> Array:
        return self.ops.clamp_backward(dy, x, -1.0, 1.0)
