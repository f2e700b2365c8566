"""Resize: images in another size, interpolated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.fields import refuse_other_fields


@register_layer("Resize")
class ResizeLayer(Layer):
    """Each pixel is interpolated from the four around its place in the bottom: (row h / out_h, column w / out_w).

    Beyond the last row or column lie zeros, so that pixels there fade.
    Bottom: (N, C, h, w). Top: (N, C, out_h, out_w).
    Reads ``resize_param``: height (0), width (0); with is_pyramid_test (false), instead of these out_height_scale and
    out_width_scale: out_h = floor(out_height_scale h), and so for the width.
    The other fields of this message are SSD's, for transform_param, and refused here: prob, resize_mode, height_scale,
    width_scale, pad_mode, pad_value, interp_mode, jitter.
    Source: resize_layer.cpp of happynear's Caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y(i) = x\left(i \, \frac{\text{size}}{\text{out}}\right)"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.resize_param
        refuse_other_fields(self, p, ("height", "width", "is_pyramid_test", "out_height_scale", "out_width_scale"))
        fields = ("out_height_scale", "out_width_scale") if p.is_pyramid_test else ("height", "width")
        for field in fields:
            if getattr(p, field) <= 0:
                self.error(f"{field} is {getattr(p, field):g}", f"give resize_param a {field} above 0")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.resize_param, bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "Resize needs 4: (N, C, H, W)")
        scales = (p.out_height_scale, p.out_width_scale)
        by_scale = tuple(int(scale * size) for scale, size in zip(scales, shape[2:], strict=True))
        self.out = by_scale if p.is_pyramid_test else (p.height, p.width)
        if not all((*shape[2:], *self.out)):
            self.error(f"an image of {shape[2:]} becomes one of {self.out}", "neither may be empty")
        top[0].Reshape((*shape[:2], *self.out))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.resample(bottom[0].data, *self._weights(bottom[0].shape[2:]))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        down, across = (self.ops.host_view(weights) for weights in self._weights(bottom[0].image))
        return [g.MatMul(g.MatMul(down, bottom[0]), across.T)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            rows, columns = self._weights(bottom[0].shape[2:])
            bottom[0].diff = self.ops.resample(top[0].diff, rows.T, columns.T)

    def _weights(self, image: Sequence[int]) -> list[Array]:
        """Return how much each row of the bottom gives to each row of the top, and the same for the columns."""
        dtype = np.dtype(self.ops.dtype_name)
        sizes = zip(image, self.out, strict=True)
        return [self.ops.asarray(_interpolation(size, out, dtype)) for size, out in sizes]


def _interpolation(size: int, out: int, dtype: np.dtype) -> np.ndarray:
    places = np.arange(out, dtype=dtype) * (dtype.type(size) / dtype.type(out))
    first = np.floor(places).astype(int)
    weights = np.zeros((out, size + 1), dtype)  # with a column for what lies beyond
    weights[np.arange(out), first + 1] = places - first
    weights[np.arange(out), first] = 1 - (places - first)
    return weights[:, :size]
