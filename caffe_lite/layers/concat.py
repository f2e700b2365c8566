"""Concat: joins blobs along an axis."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import ConcatParameter, LayerParameter, SliceParameter


@register_layer("Concat")
class ConcatLayer(Layer):
    """The bottoms, one after another along ``axis``.

    Bottoms: one or more, (N, C_i, H, W), of equal sizes except along the axis. Top: (N, sum of C_i, H, W).
    Reads ``concat_param``: axis (1), formerly concat_dim. A single bottom is passed on as it is.
    Source: the original's concat_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = [\, x_1, x_2, \ldots ]"
    bottoms = (1, None)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return "" if param.concat_param.axis == 1 else f"axis {param.concat_param.axis}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.axis_given, self.field = axis_or_dim(self, self.param.concat_param, "concat_dim")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        at = self.at = self.axis(self.axis_given, len(shape), self.field)
        for blob in bottom[1:]:
            if (len(blob.shape), blob.shape[:at], blob.shape[at + 1 :]) != (len(shape), shape[:at], shape[at + 1 :]):
                self.error(
                    f"the bottoms {', '.join(str(b.shape) for b in bottom)} differ elsewhere than along axis {at}",
                    "make all other dimensions equal",
                )
        self.sizes = [blob.shape[at] for blob in bottom]
        top[0].Reshape((*shape[:at], sum(self.sizes), *shape[at + 1 :]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        arrays = [blob.data for blob in bottom]
        top[0].data = self.ops.concat(arrays, self.at) if len(arrays) > 1 else arrays[0]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Concat(*bottom, axis=self.at) if len(bottom) > 1 else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        start = 0
        for blob, size, needed in zip(bottom, self.sizes, propagate_down, strict=True):
            if needed:
                blob.diff = top[0].diff[span(self.at, start, start + size)]
            start += size


def span(axis: int, start: int, end: int) -> tuple[slice, ...]:
    """Return the index that takes ``start`` to ``end`` along ``axis``, and everything along the other axes."""
    return (*[slice(None)] * axis, slice(start, end))


def axis_or_dim(layer: Layer, param: ConcatParameter | SliceParameter, formerly: str) -> tuple[int, str]:
    """Return the axis given in ``axis`` or in the field that it replaced, and the name of that field."""
    if param.HasField(formerly):
        if param.HasField("axis"):
            layer.error(f"both axis and {formerly} are given", f"give axis alone; it replaced {formerly}")
        return getattr(param, formerly), formerly
    return param.axis, "axis"
