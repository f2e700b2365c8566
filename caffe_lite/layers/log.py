"""Log: the logarithm to any base."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from .exp import log_of_base


@register_layer("Log")
class LogLayer(Layer):
    """y = log_base(scale * x + shift).

    Bottom and top: any shape. Reads ``log_param``: base (-1, which stands for e; not 1), scale (1), shift (0).
    The logarithm of 0 is -inf and that of a negative number NaN, as in the original.
    Source: the original's log_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \log_{\text{base}}(\text{scale} \cdot x + \text{shift})"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.log_param
        self.scale, self.shift, self.log_base = p.scale, p.shift, log_of_base(self, p.base)
        if self.log_base == 0:
            self.error("base is 1, and no power of 1 is another number", "use another base")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.z = self.ops.affine(bottom[0].data, self.scale, self.shift)
        top[0].data = self.ops.affine(self.ops.log(self.saved.z), 1 / self.log_base, 0.0)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.affine(g.Log(g.affine(bottom[0], self.scale, self.shift)), 1 / self.log_base)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.affine(top[0].diff / self.saved.z, self.scale / self.log_base, 0.0)
