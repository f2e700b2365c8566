"""MaskResize: images in another size, with values in between interpolated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter


@register_layer("MaskResize")
class MaskResizeLayer(Layer):
    """y[n, c, i, j] = x[n, c] at the height i H / output_height and the width j W / output_width.

    Bottom: (N, C, H, W). Top: (N, C, output_height, output_width). Between pixels x is linear in both directions; past
    the last one it stays what it is there for half a pixel, and is 0 from there on.
    Reads ``mask_resize_param``: output_height, output_width.
    Source: Dai, He and Sun 2016; mask_resize_layer.cu of MNC's Caffe. Differences: the original runs on GPUs only; its
    gradient leaves out places where the top is larger than the bottom; an infinity makes its row and column NaN here.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{ij} = x\left(i \tfrac{H}{H'},\ j \tfrac{W}{W'}\right)"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.mask_resize_param
        return f"{p.output_height} x {p.output_width}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.mask_resize_param
        self.out = p.output_height, p.output_width
        if min(self.out) < 1:
            self.error(f"output_height is {self.out[0]}, output_width is {self.out[1]}", "give both, each at least 1")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "resizing needs 4: (N, C, H, W)")
        if not shape[2] or not shape[3]:
            self.error(f"the bottom's shape {shape} has no pixels", "resizing needs a height and a width of at least 1")
        top[0].Reshape((*shape[:2], *self.out))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, sizes = self.ops, bottom[0].shape[2:]
        down, across = (ops.asarray(_between(n, out)) for n, out in zip(sizes, self.out, strict=True))
        self.saved.down, self.saved.across = down, across
        top[0].data = ops.resample(bottom[0].data, down, across)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        down, across = (_between(n, out) for n, out in zip(bottom[0].image, self.out, strict=True))
        return [g.MatMul(g.MatMul(down, bottom[0]), across.T)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.resample(top[0].diff, self.saved.down.T, self.saved.across.T)


def _between(size: int, out: int) -> np.ndarray:
    """Return how much of each of ``size`` pixels is in each of ``out`` places: (out, size)."""
    place = np.arange(out)[:, None] * (size / out)
    share = np.maximum(0, 1 - np.abs(np.minimum(place, size - 1) - np.arange(size)))
    return np.where(place > size - 0.5, 0, share)
