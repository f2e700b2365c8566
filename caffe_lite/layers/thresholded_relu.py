"""ThresholdedReLU: passes on what exceeds a threshold."""

from __future__ import annotations

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("ThresholdedReLU")
class ThresholdedReLULayer(NeuronLayer):
    """y = x where x > alpha, else 0.

    Bottom and top: any shape. Reads ``thresholded_relu_param``: alpha (1).
    Source: Konda et al. 2014; thresholded_relu_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = \begin{cases} x & x > \alpha \\ 0 & \text{else} \end{cases}"

    def value(self, x: Array) -> Array:
        return self.gradient(x, x)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        y: Value = g.ThresholdedRelu(x, alpha=self.param.thresholded_relu_param.alpha)
        return y

    def gradient(self, dy: Array, x: Array) -> Array:
        return self.ops.where(x > self.param.thresholded_relu_param.alpha, dy, self.ops.scalar(0))
