"""CropCenter: cuts off the borders of a blob."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("CropCenter")
class CropCenterLayer(Layer):
    """The bottom without the first and the last crop_size elements of each axis.

    In waifu2x's residual nets it fits a shortcut to convolutions without padding.
    Bottom: any shape. Top: smaller by 2 crop_size along each axis; a view of the bottom's memory, not a copy.
    Reads ``crop_center_param``: crop_size, once for each axis.
    Source: crop_center_layer.cpp of waifu2x-caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_i = x_{\text{crop} + i}"

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, self.borders = bottom[0].shape, list(self.param.crop_center_param.crop_size)
        if len(self.borders) != len(shape):
            self.error(
                f"{len(self.borders)} crop sizes for the {len(shape)} axes of the bottom {shape}",
                "give crop_size once for each axis, 0 for those to leave as they are",
            )
        for axis, (size, border) in enumerate(zip(shape, self.borders, strict=True)):
            if border and size <= 2 * border:
                self.error(
                    f"a crop_size of {border} leaves nothing of axis {axis}, which has {size}", "use a smaller one"
                )
        self.part = tuple(slice(border, size - border) for size, border in zip(shape, self.borders, strict=True))
        top[0].Reshape([size - 2 * border for size, border in zip(shape, self.borders, strict=True)])

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = bottom[0].data[self.part]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        axes = [axis for axis, border in enumerate(self.borders) if border]
        borders = [self.borders[axis] for axis in axes]
        return [g.slice(bottom[0], borders, [-border for border in borders], axes) if axes else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.pad(top[0].diff, self.borders, self.borders)
