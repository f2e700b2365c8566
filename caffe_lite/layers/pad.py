"""Pad: surrounds a blob with a constant."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Pad")
class PadLayer(Layer):
    """The bottom with elements of a constant value before and after it along each axis.

    Bottom: any shape. Top: larger by the paddings. Reads ``pad_param``: paddings, two numbers for each axis, before and
    after; constant_values (0).
    Source: pad_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = [\, c, \ldots, c, x, c, \ldots, c \,]"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        paddings = list(self.param.pad_param.paddings)
        if len(paddings) != 2 * bottom[0].num_axes:
            self.error(
                f"{len(paddings)} paddings for the {bottom[0].num_axes} axes of the bottom {bottom[0].shape}",
                "give two for each axis: before, after",
            )
        self.before, self.after = paddings[::2], paddings[1::2]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != len(self.before):
            self.error(f"the bottom now has {len(shape)} axes, the layer was made for {len(self.before)}")
        top[0].Reshape([b + n + a for b, n, a in zip(self.before, shape, self.after, strict=True)])

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        value = self.param.pad_param.constant_values
        top[0].data = self.ops.pad(bottom[0].data, self.before, self.after, value)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        paddings = [*self.before, *self.after]
        return [g.Pad(bottom[0], paddings, self.param.pad_param.constant_values) if any(paddings) else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            inside = tuple(slice(b, b + n) for b, n in zip(self.before, bottom[0].shape, strict=True))
            bottom[0].diff = top[0].diff[inside]
