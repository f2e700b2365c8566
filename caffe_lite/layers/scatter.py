"""Scatter: hands out parts of a batch to processes; in one process, it passes on its bottoms."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Scatter")
class ScatterLayer(Layer):
    """y = x, for each bottom.

    In yjxiong's Caffe, several processes train together, and this layer gives each of them its part of the batch.
    Bottoms: any shapes. Tops: one for each bottom, with its shape. Source: scatter_layer.cpp of yjxiong's Caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = x"
    bottoms = (1, None)
    tops = (1, None)
    equal_bottoms_tops = True

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for below, above in zip(bottom, top, strict=True):
            above.Reshape(below.shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for below, above in zip(bottom, top, strict=True):
            above.data = below.data

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return list(bottom)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for below, above, wanted in zip(bottom, top, propagate_down, strict=True):
            if wanted:
                below.diff = above.diff
