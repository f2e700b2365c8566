"""Softmax: turns scores into probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Softmax")
class SoftmaxLayer(Layer):
    """y_c = exp(x_c - m) / sum_k exp(x_k - m), with m = max_k x_k, so that no score overflows.

    Bottom and top: (N, C, ...), any shape; the classes lie along ``axis``.
    Reads ``softmax_param``: axis (1; may be negative).
    Source: the original's softmax_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y_c = \frac{e^{x_c}}{\sum_k e^{x_k}}"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.class_axis = self.axis(self.param.softmax_param.axis, bottom[0].num_axes)
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.y = top[0].data = self.ops.softmax(bottom[0].data, self.class_axis)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Softmax(bottom[0], axis=self.class_axis)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.softmax_backward(top[0].diff, self.saved.y, self.class_axis)
