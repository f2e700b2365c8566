"""HardSigmoid: a line in place of the logistic function, limited to 0 and 1."""

from __future__ import annotations

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("HardSigmoid")
class HardSigmoidLayer(NeuronLayer):
    """y = min(max(alpha x + beta, 0), 1). The gradient passes where 0 < y < 1.

    Bottom and top: any shape. Reads ``hard_sigmoid_param``: alpha (0.2), beta (0.5).
    Source: Courbariaux et al. 2015; hard_sigmoid_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = \min(\max(\alpha x + \beta, 0), 1)"

    def value(self, x: Array) -> Array:
        return self.ops.clamp(self._line(x), 0.0, 1.0)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        p = self.param.hard_sigmoid_param
        y: Value = g.HardSigmoid(x, alpha=p.alpha, beta=p.beta)
        return y

    def gradient(self, dy: Array, x: Array) -> Array:
        passed = self.ops.clamp_backward(dy, self._line(x), 0.0, 1.0)
        return self.ops.affine(passed, self.param.hard_sigmoid_param.alpha, 0.0)

    def _line(self, x: Array) -> Array:
        p = self.param.hard_sigmoid_param
        return self.ops.affine(x, p.alpha, p.beta)
