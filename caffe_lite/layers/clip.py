"""Clip: limits values to an interval."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Clip")
class ClipLayer(Layer):
    """y = x, limited to at least ``min`` and at most ``max``; the gradient passes where min <= x <= max.

    Bottom and top: any shape. Reads ``clip_param``: min, max; both must be given.
    Source: the original's clip_layer.cpp. Differences: NaN stays NaN (the original gives min); min above max is an
    error (the original gives min everywhere).
    """

    kind = Kind.NEURON
    formula = r"y = \min(\max(x, \text{min}), \text{max})"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.clip_param
        if not (p.HasField("min") and p.HasField("max")):
            self.error("it has no bounds", "add clip_param { min: ... max: ... }")
        if p.min > p.max:
            self.error(f"min {p.min:g} exceeds max {p.max:g}", "exchange them")
        self.least, self.most = p.min, p.max

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[0].data
        top[0].data = self.ops.clamp(self.saved.x, self.least, self.most)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Clip(bottom[0], self.least, self.most)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            inside = (self.saved.x >= self.least) & (self.saved.x <= self.most)
            bottom[0].diff = self.ops.where(inside, top[0].diff, self.ops.scalar(0))
