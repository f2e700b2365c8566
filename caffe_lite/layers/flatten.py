"""Flatten: merges several axes into one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Flatten")
class FlattenLayer(Layer):
    """The same values, with the axes from ``axis`` to ``end_axis`` (inclusive) merged into one.

    Bottom: (N, C, H, W). Top: (N, C*H*W). Reads ``flatten_param``: axis (1), end_axis (-1).
    Source: the original's flatten_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"(N, C, H, W) \to (N, C H W)"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.error("Flatten cannot run in place", "give its top another name than its bottom")
        p, shape = self.param.flatten_param, bottom[0].shape
        first = self.axis(p.axis, len(shape))
        end = self.axis(p.end_axis, len(shape), "end_axis") + 1
        if end < first:
            self.error(f"end_axis {p.end_axis} comes before axis {p.axis} in a bottom with {len(shape)} axes")
        top[0].Reshape((*shape[:first], prod(shape[first:end]), *shape[end:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.reshape(bottom[0].data, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.reshape(bottom[0], top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.reshape(top[0].diff, bottom[0].shape)
