"""Power: a power of a scaled and shifted input."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("Power")
class PowerLayer(Layer):
    """y = (scale * x + shift)^power; dy/dx = power * scale * (scale * x + shift)^(power - 1).

    Bottom and top: any shape. Reads ``power_param``: power (1), scale (1), shift (0). Where power or scale is 0, y does
    not depend on x, not even on an x that is not finite: it is 1 for power 0, else shift^power.
    A negative number raised to a power that is not whole is NaN, as in the original.
    Source: the original's power_layer.cpp. Difference: with shift 0, the gradient at x = 0 is 0 for a power above 1
    (the original computes 0 / 0).
    """

    kind = Kind.NEURON
    formula = r"y = (\text{scale} \cdot x + \text{shift})^{\text{power}}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.power_param
        self.power, self.scale, self.shift = p.power, p.scale, p.shift
        self.slope = p.power * p.scale

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        x = bottom[0].data
        self.saved.z = ops.affine(x, self.scale, self.shift) if self.slope else ops.full(bottom[0].shape, self.shift)
        top[0].data = self._raised(self.power)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = bottom[0]
        z = g.affine(x, self.scale, self.shift) if self.slope else g.Expand(self.shift, g.Shape(x))
        return [z if self.power == 1 else g.Pow(z, self.power)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        if self.slope == 0:
            bottom[0].diff = self.ops.zeros(bottom[0].shape)
        elif self.power == 1:
            bottom[0].diff = self.ops.affine(top[0].diff, self.slope, 0.0)
        else:
            bottom[0].diff = top[0].diff * self._raised(self.power - 1) * self.slope

    def _raised(self, power: float) -> Array:
        return self.saved.z if power == 1 else self.saved.z**power
