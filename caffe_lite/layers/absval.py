"""AbsVal: the absolute value."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("AbsVal")
class AbsValLayer(Layer):
    """y = |x|. Bottom and top: any shape. At 0 the gradient is 0.

    Source: the original's absval_layer.cpp. Difference: it may run in place (the original refuses).
    """

    kind = Kind.NEURON
    formula = r"y = |x|"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[0].data
        top[0].data = self.ops.abs(self.saved.x)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Abs(bottom[0])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = top[0].diff * self.ops.sign(self.saved.x)
