"""ShuffleChannel: mixes the channels of groups."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter


@register_layer("ShuffleChannel")
class ShuffleChannelLayer(Layer):
    """The first channel of each group, then the second of each, and so on.

    Between two convolutions in groups, it gives every group of the second one channels of all groups of the first.
    Bottom and top: (N, C, ...). Reads ``shuffle_channel_param``: group (1), which must divide C.
    Source: Zhang et al. 2017 (ShuffleNet); shuffle_channel_layer.cpp of farmingyard's ShuffleNet, and of mini-caffe,
    which has no gradient.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{j g + i} = x_{i C / g + j}, \quad 0 \le i < g"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"group {param.shuffle_channel_param.group}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.group = self.param.shuffle_channel_param.group
        if self.group < 1:
            self.error(f"group is {self.group}", "use 1 or more")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "it needs 2 or more: (N, C, ...)")
        if shape[1] % self.group:
            self.error(
                f"the bottom's channels ({shape[1]}) cannot be shared out among {self.group} groups",
                f"use a divisor of {shape[1]}",
            )
        self.per_group = shape[1] // self.group
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.shuffle_channels(bottom[0].data, self.group)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = bottom[0]
        n, _, *image = x.sizes
        apart = g.reshape(x, (n, self.group, self.per_group, *image))
        mixed = g.Transpose(apart, perm=[0, 2, 1, *range(3, x.ndim + 1)])
        mixed.shape = (n, self.per_group, self.group, *image)
        return [g.reshape(mixed, x.sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.shuffle_channels(top[0].diff, max(1, self.per_group))
