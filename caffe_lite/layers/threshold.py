"""Threshold: marks the values that exceed a bound."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import FLOAT, OnnxGraph, Value


@register_layer("Threshold")
class ThresholdLayer(Layer):
    """y = 1 where x > threshold, else 0. Bottom and top: any shape; there is no gradient.

    Reads ``threshold_param``: threshold (0). Source: the original's threshold_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \begin{cases} 1 & x > \text{threshold} \\ 0 & \text{else} \end{cases}"
    not_differentiable = (0,)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.threshold = self.param.threshold_param.threshold

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.astype(bottom[0].data > self.threshold)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Cast(g.Greater(bottom[0], self.threshold), to=FLOAT)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("a threshold has no gradient", "set propagate_down: false for its bottom")
