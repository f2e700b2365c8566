"""PReLU: the rectifier with a learned slope for values below 0."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import FillerParameter
from .common.fillers import fill


@register_layer("PReLU")
class PReLULayer(Layer):
    """y = x where x > 0, else a[c] x.

    Bottom and top: (N, C, ...). Blobs: a (C), or a scalar with channel_shared.
    Reads ``prelu_param``: filler (constant 0.25), channel_shared (false).
    Source: He et al. 2015; the original's prelu_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y_c = \begin{cases} x_c & x_c > 0 \\ a_c x_c & \text{else} \end{cases}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.prelu_param
        self.shared = p.channel_shared
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "PReLU needs 2 or more: (N, C, ...)")
        self.blobs = [Blob(self.ops, () if self.shared else shape[1:2])]
        fill(self.blobs[0], p.filler if p.HasField("filler") else FillerParameter(value=0.25), self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        slopes = self.blobs[0].shape
        if not self.shared and shape[1:2] != slopes:
            self.error(
                f"the channels of the bottom's shape {shape} do not agree with the {slopes[0]} slopes",
                "keep the channels that the net was made with, or make the net anew",
            )
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = x = bottom[0].data
        slope = self.blobs[0].data
        self.saved.slope = slope if self.shared else self.ops.along_channels(slope, x.ndim)
        top[0].data = self.ops.prelu(x, self.saved.slope)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        slope = g.value(self.blobs[0]) if self.shared else g.along(self.blobs[0], bottom[0].ndim)
        return [g.PRelu(bottom[0], slope)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, x = top[0].diff, self.saved.x
        if self.param_propagate_down[0]:
            below = self.ops.where(x > 0, self.ops.scalar(0), dy * x)
            axes = None if self.shared else (0, *range(2, x.ndim))
            self.blobs[0].add_diff(self.ops.reshape(self.ops.sum(below, axes, keepdims=True), self.blobs[0].shape))
        if propagate_down[0]:
            bottom[0].diff = self.ops.where(x > 0, dy, self.saved.slope * dy)
