"""MaskPooling: the values of regions, weighted by a mask of each."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("MaskPooling")
class MaskPoolingLayer(Layer):
    """y[r, c, h, w] = x[r, c, h, w] m[r, 0, h, w].

    Bottoms: x, (R, C, H, W); masks m, (R, 1, H, W). Top: x's shape. Both bottoms get gradients.
    Source: Dai, He and Sun 2016; mask_pooling_layer.cu of MNC's Caffe, which runs on GPUs only.
    """

    kind = Kind.POOLING
    formula = r"y_{rchw} = x_{rchw} \, m_{rhw}"
    bottoms = (2, 2)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, mask = bottom[0].shape, bottom[1].shape
        if len(x) != 4:
            self.error(f"the first bottom's shape {x} has {len(x)} axes", "masks need 4: (R, C, H, W)")
        if mask != (x[0], 1, *x[2:]):
            self.error(f"the masks have the shape {mask}", f"give one for each sample of {x}: {(x[0], 1, *x[2:])}")
        top[0].Reshape(x)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x, self.saved.mask = bottom[0].data, bottom[1].data
        top[0].data = self.saved.x * self.saved.mask

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Mul(bottom[0], bottom[1])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, x = top[0].diff, self.saved.x
        if propagate_down[0]:
            bottom[0].diff = dy * self.saved.mask
        if propagate_down[1]:
            bottom[1].diff = self.ops.sum(dy * x, 1, keepdims=True)
