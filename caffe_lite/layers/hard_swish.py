"""HardSwish: the input times a line that is limited to 0 and 1."""

from __future__ import annotations

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("HardSwish")
class HardSwishLayer(NeuronLayer):
    """y = x min(max(x + 3, 0), 6) / 6.

    Bottom and top: any shape.
    Source: Howard et al. 2019 (MobileNet V3); hard_swish_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = x \, \frac{\min(\max(x + 3, 0), 6)}{6}"

    def value(self, x: Array) -> Array:
        return self.ops.hard_swish(x)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        y: Value = g.Mul(x, g.HardSigmoid(x, alpha=1 / 6, beta=0.5))
        return y

    def gradient(self, dy: Array, x: Array) -> Array:
        return self.ops.hard_swish_backward(dy, x)
