"""Reverse: the elements along axes in reverse order."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("Reverse")
class ReverseLayer(Layer):
    """y_i = x_{n-1-i} along each of the axes, which have n elements.

    Bottom and top: any shape. Reads ``reverse_param``: axis (0), also several; negative ones count from the end.
    Source: reverse_layer.cpp of pull request 4681 of BVLC's Caffe and of Synopsys' Caffe. Differences: without an axis,
    Synopsys' copies the bottom; it may run in place.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_i = x_{n-1-i}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        axes = self.param.reverse_param.axis or [0]
        self.axes = sorted({self.axis(axis, bottom[0].num_axes) for axis in axes})

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self._reversed(bottom[0].data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.flip(bottom[0], self.axes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self._reversed(top[0].diff)

    def _reversed(self, x: Array) -> Array:
        for axis in self.axes:
            x = self.ops.flip(x, axis)
        return x
