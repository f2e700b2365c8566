"""Exp: powers of a base."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, log

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Exp")
class ExpLayer(Layer):
    """y = base^(scale * x + shift).

    Bottom and top: any shape. Reads ``exp_param``: base (-1, which stands for e), scale (1), shift (0).
    Source: the original's exp_layer.cpp. It multiplies by base^shift afterwards; adding the shift to the exponent
    gives the same result without an overflow on the way.
    """

    kind = Kind.NEURON
    formula = r"y = \text{base}^{\text{scale} \cdot x + \text{shift}}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.exp_param
        log_base = log_of_base(self, p.base)
        self.scale, self.shift = log_base * p.scale, log_base * p.shift

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.y = top[0].data = self.ops.exp(self.ops.affine(bottom[0].data, self.scale, self.shift))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Exp(g.affine(bottom[0], self.scale, self.shift))]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.affine(top[0].diff * self.saved.y, self.scale, 0.0)


def log_of_base(layer: Layer, base: float) -> float:
    """Return the natural logarithm of a ``base`` field, in which -1 stands for e."""
    if base == -1:
        return 1.0
    if not base > 0 or isinf(base):
        layer.error(f"base is {base:g}", "use a positive number, or -1 (the default) for e")
    return log(base)
