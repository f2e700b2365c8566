"""Scale: multiplies by an operand, learned or given, that spans some axes; optionally adds a bias."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.roles import LearnedChannelMap
from ..proto.caffe_pb2 import FillerParameter
from .bias import SpanningLayer
from .common.fillers import fill


@register_layer("Scale")
class ScaleLayer(SpanningLayer):
    """y = s x + b, with s and b the same along every axis that they do not span.

    Bottoms: x, any shape; and, unless s is learned, s of any number of axes, which must have the sizes of x's axes
    from ``axis`` on. Top: the shape of x.
    Blobs: with one bottom, s, with the sizes of num_axes axes of x from ``axis`` on; with bias_term, b, with the shape
    of s.
    Reads ``scale_param``: axis (1); num_axes (1; -1 for all that follow, 0 for a scalar) and filler (constant 1), which
    apply only to a learned s; bias_term (false), bias_filler (constant 0).
    Source: the original's scale_layer.cpp.
    """

    formula = r"y = s x + b"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.scale_param
        if len(bottom) == 1:
            shape = self.learned_shape(bottom[0].shape, p.axis, p.num_axes)
            self.blobs.append(Blob(self.ops, shape))
            fill(self.blobs[0], p.filler if p.HasField("filler") else FillerParameter(value=1), self.rng)
        else:
            shape = bottom[1].shape
        if p.bias_term:
            self.blobs.append(Blob(self.ops, shape))
            fill(self.blobs[-1], p.bias_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.scale_param
        scale = (*bottom[1:], *self.blobs)[0]
        self.meet(bottom[0].shape, scale.shape, p.axis)
        if p.bias_term and self.blobs[-1].shape != scale.shape:
            self.error(
                f"the scale's shape is now {scale.shape}, the bias has {self.blobs[-1].shape}",
                "keep the shapes that the net was made with, or make the net anew",
            )
        top[0].Reshape(bottom[0].shape)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> LearnedChannelMap | None:
        return LearnedChannelMap(self._factor_and_term) if self.spans_channels(bottom) else None

    def _factor_and_term(self) -> tuple[Array, Array | None]:
        return self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[0].data
        self.saved.scale = self.spread((*bottom[1:], *self.blobs)[0].data)
        y = self.saved.x * self.saved.scale
        top[0].data = y + self.spread(self.blobs[-1].data) if self.param.scale_param.bias_term else y

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        scale, *bias = (self.spread_onnx(g, value) for value in (*bottom[1:], *map(g.value, self.blobs)))
        y = g.Mul(bottom[0], scale)
        return [g.Add(y, bias[0]) if bias else y]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if self.param.scale_param.bias_term and self.param_propagate_down[-1]:
            self.blobs[-1].add_diff(self.gather(dy))
        if len(bottom) > 1:
            if propagate_down[1]:
                bottom[1].diff = self.gather(dy * self.saved.x)
        elif self.param_propagate_down[0]:
            self.blobs[0].add_diff(self.gather(dy * self.saved.x))
        if propagate_down[0]:
            bottom[0].diff = dy * self.saved.scale
