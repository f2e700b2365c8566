"""Permute: the axes of a blob in another order."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Permute")
class PermuteLayer(Layer):
    """The top's axis k is the bottom's axis order[k]; axes that ``order`` does not name follow in their order.

    Bottom: any shape. Top: the same sizes in the new order; a view of the bottom's memory, not a copy.
    Reads ``permute_param``: order (none: the axes stay as they are).
    SSD's nets use order 0, 2, 3, 1, so that the numbers that belong to one place of a map lie side by side.
    Source: Liu et al. 2016; permute_layer.cpp of SSD's Caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{i_{o(0)}, \dots, i_{o(n)}} = x_{i_0, \dots, i_n}"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        given = list(self.param.permute_param.order)
        for axis in given:
            self.axis(axis, len(shape), "order")
        if len(set(given)) < len(given):
            self.error(f"order names an axis twice: {', '.join(map(str, given))}", "name each axis once")
        self.order = (*given, *(axis for axis in range(len(shape)) if axis not in given))
        top[0].Reshape([shape[axis] for axis in self.order])

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.transpose(bottom[0].data, self.order)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        moves = self.order != tuple(range(len(self.order)))
        return [g.Transpose(bottom[0], perm=self.order) if moves else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            back = sorted(range(len(self.order)), key=self.order.__getitem__)
            bottom[0].diff = self.ops.transpose(top[0].diff, back)
