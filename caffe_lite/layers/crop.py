"""Crop: cuts a part out of a blob, as large as another blob."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Crop")
class CropLayer(Layer):
    """y = x[..., offset : offset + size, ...], along every axis from ``axis`` on.

    Bottoms: x, any shape; a reference, of which only the sizes of those axes matter, and which gets no gradient.
    Top: x's shape before ``axis``, the reference's from there on. It is a view of the bottom's memory, not a copy.
    Reads ``crop_param``: axis (2), offset (0): none, one for all those axes, or one for each.
    Source: Long, Shelhamer and Darrell 2015; the original's crop_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_i = x_{\text{offset} + i}"
    bottoms = (2, 2)
    not_differentiable = (1,)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, reference = bottom[0].shape, bottom[1].shape
        first = self.axis(self.param.crop_param.axis, len(shape))
        if len(reference) < len(shape):
            self.error(
                f"the bottom {shape} has {len(shape)} axes, the reference {reference} only {len(reference)}",
                "give a second bottom with as many axes",
            )
        self.before = self._offsets(len(shape) - first)
        sizes = reference[first : len(shape)]
        for i, (have, want, offset) in enumerate(zip(shape[first:], sizes, self.before, strict=True)):
            if offset + want > have:
                self.error(
                    f"a crop of {want} from offset {offset} on leaves axis {first + i}, which has {have}",
                    f"use an offset of at most {have - want}" if want <= have else "crop to a smaller reference",
                )
        self.after = [n - o - s for n, o, s in zip(shape[first:], self.before, sizes, strict=True)]
        self.part = (..., *(slice(o, o + s) for o, s in zip(self.before, sizes, strict=True)))
        top[0].Reshape((*shape[:first], *sizes))

    def _offsets(self, axes: int) -> list[int]:
        """Return the offset of each axis that is cropped."""
        given = list(self.param.crop_param.offset) or [0]
        if len(given) not in (1, axes):
            self.error(f"{len(given)} offsets for {axes} axes", "give one for all axes from axis on, or one for each")
        return given if len(given) == axes else given * axes

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = bottom[0].data[self.part]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        starts, ends, axes = [], [], []
        x, first = bottom[0], bottom[0].ndim - len(self.before)
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True), first):
            size = top[0].sizes[axis]
            if size is None and (before or after):
                self.error(f"what it crops of axis {axis} depends on the batch", "Export it for one size of batch")
            if size is not None and size != x.sizes[axis]:
                starts.append(before)
                ends.append(before + size)
                axes.append(axis)
        return [g.slice(x, starts, ends, axes) if axes else x]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.pad(top[0].diff, self.before, self.after)
