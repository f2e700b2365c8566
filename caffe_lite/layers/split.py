"""Split: one blob for several readers; the Net inserts it where a blob is read more than once."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.roles import Identity


@register_layer("Split")
class SplitLayer(Layer):
    """Every top is the bottom (the same array); the bottom's gradient is the sum of the tops' gradients.

    Bottom and tops: any shape. A top that no gradient has reached is left out of the sum.
    Source: the original's split_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_i = x, \quad \frac{\partial L}{\partial x} = \sum_i \frac{\partial L}{\partial y_i}"
    tops = (1, None)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Identity:
        return Identity()

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0]] * len(top)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.data = bottom[0].data

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            gradients = [blob.diff for blob in top if blob.has_diff]
            bottom[0].clear_diff()
            for gradient in gradients:
                bottom[0].add_diff(gradient)
