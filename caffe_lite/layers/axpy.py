"""Axpy: scales each channel of each sample, and adds another blob."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Axpy")
class AxpyLayer(Layer):
    """y = a x + b, with one factor a for each channel of each sample.

    Bottoms: a (N, C), also with further axes of size 1; x (N, C, ...); b, with the shape of x. Top: the shape of x.
    Squeeze-and-excitation networks end their blocks with it: a weighs the channels, b goes past the block.
    Source: Hu, Shen and Sun 2017; axpy_layer.cpp of SENet.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{n,c} = a_{n,c} x_{n,c} + b_{n,c}"
    bottoms = (3, 3)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        factor, shape, other = (blob.shape for blob in bottom)
        if len(shape) < 2 or factor[:2] != shape[:2] or any(size != 1 for size in factor[2:]):
            self.error(
                f"the first bottom {factor} has no factor for each channel of each sample of the second, {shape}",
                "give it the shape (N, C) of the second bottom's first two axes",
            )
        if other != shape:
            self.error(f"the bottoms to add, {shape} and {other}, have different shapes", "give them one shape")
        self.spread = (*shape[:2], *[1] * (len(shape) - 2))
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[1].data
        self.saved.factor = self.ops.reshape(bottom[0].data, self.spread)
        top[0].data = self.ops.multiply_add(self.saved.factor, self.saved.x, bottom[2].data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        factor, x, other = bottom
        spread = (*x.sizes[:2], *[1] * (x.ndim - 2))
        return [g.Add(g.Mul(g.reshape(factor, spread), x), other)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if propagate_down[0]:
            by_channel = self.ops.sum(dy * self.saved.x, tuple(range(2, dy.ndim)), keepdims=True)
            bottom[0].diff = self.ops.reshape(by_channel, bottom[0].shape)
        if propagate_down[1]:
            bottom[1].diff = dy * self.saved.factor
        if propagate_down[2]:
            bottom[2].diff = dy
