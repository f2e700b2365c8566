"""Flip: mirrors images."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("Flip")
class FlipLayer(Layer):
    """Images with the columns, the rows or both in reverse order.

    Bottom and top: (N, C, H, W). Reads ``flip_param``: flip_width (true), flip_height (false).
    Source: flip_layer.cpp of happynear's Caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{h,w} = x_{h, W - 1 - w}"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "Flip needs 4: (N, C, H, W)")
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self._flipped(bottom[0].data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p = self.param.flip_param
        return [g.flip(bottom[0], [axis for axis, flips in ((2, p.flip_height), (3, p.flip_width)) if flips])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self._flipped(top[0].diff)

    def _flipped(self, x: Array) -> Array:
        p = self.param.flip_param
        x = self.ops.flip(x, 3) if p.flip_width else x
        return self.ops.flip(x, 2) if p.flip_height else x
