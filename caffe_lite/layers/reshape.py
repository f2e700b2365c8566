"""Reshape: the same values in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Reshape")
class ReshapeLayer(Layer):
    """The same values, with ``num_axes`` axes from ``axis`` on replaced by the dimensions of ``shape``.

    Bottom: any shape. Top: as many values. In ``shape``, 0 keeps the bottom's dimension at that place of the top, and
    one -1 stands for the size that the count leaves. Reads ``reshape_param``: shape, axis (0; negative values count
    from after the last axis: -1 appends), num_axes (-1: all that follow).
    With a pixelshuffler r above 1 (1), of Intel's Caffe, shape is not read: r^2 channels become an r x r square of
    pixels, so that (N, C, H, W) becomes (N, C / r^2, r H, r W).
    Source: the original's reshape_layer.cpp, and Intel's. Difference: where a dimension that is kept is 0, as in an
    empty batch, -1 stands for the size that the others leave, the same as in any other batch (the original divides by
    0).
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = x \text{ in another shape}"
    reads_fork_fields = ("ReshapeParameter.pixelshuffler",)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.error("Reshape cannot run in place", "give its top another name than its bottom")
        p = self.param.reshape_param
        if p.pixelshuffler < 1:
            self.error(f"pixelshuffler is {p.pixelshuffler}", "use 1 or more")
        self.dims = list(p.shape.dim)
        if self.dims.count(-1) > 1:
            self.error(f"the shape {self.dims} holds several -1", "leave one dimension at most to be inferred")
        if min(self.dims, default=0) < -1:
            self.error(f"the shape {self.dims} holds a dimension below -1", "use -1 to infer, 0 to keep, or a size")
        if p.num_axes < -1:
            self.error(f"num_axes is {p.num_axes}", "use 0 or more, or -1 for all axes that follow")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.reshape_param, bottom[0].shape
        if p.pixelshuffler > 1:
            top[0].Reshape(self._shuffled(shape, p.pixelshuffler))
            return
        first = p.axis if p.axis >= 0 else len(shape) + p.axis + 1
        if not 0 <= first <= len(shape):
            self.error(
                f"axis {p.axis} is out of range for a bottom with {len(shape)} axes",
                f"use {-len(shape) - 1} to {len(shape)}",
            )
        end = len(shape) if p.num_axes == -1 else first + p.num_axes
        if end > len(shape):
            self.error(f"{p.num_axes} axes from axis {first} on exceed the {len(shape)} axes of the bottom {shape}")
        dims = [self._kept(shape, first + i) if dim == 0 else dim for i, dim in enumerate(self.dims)]
        if -1 in dims:
            # Not with the axes that bottom and top have in common: their product may be 0.
            kept = {first + i for i, dim in enumerate(self.dims) if dim == 0}
            count = prod(shape[axis] for axis in range(first, end) if axis not in kept)
            others = prod(dim for dim in self.dims if dim > 0) * prod(shape[axis] for axis in kept if axis >= end)
            if others == 0 or count % others:
                self.error(
                    f"no size for the -1 in {self.dims} gives the {prod(shape)} values of the bottom {shape}: "
                    f"beside what is kept, {others} does not divide {count}"
                )
            dims[dims.index(-1)] = count // others
        new = (*shape[:first], *dims, *shape[end:])
        if prod(new) != prod(shape):
            self.error(
                f"the top {new} would hold {prod(new)} values, the bottom {shape} holds {prod(shape)}",
                "choose dimensions with the same product, or one -1",
            )
        top[0].Reshape(new)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if self.param.reshape_param.pixelshuffler > 1:
            x = self.ops.transpose(self.ops.reshape(x, self.apart), (0, 1, 4, 2, 5, 3))
        top[0].data = self.ops.reshape(x, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        r = self.param.reshape_param.pixelshuffler
        if r > 1:
            return [g.DepthToSpace(bottom[0], blocksize=r, mode="CRD")]
        return [g.reshape(bottom[0], top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy = top[0].diff
            if self.param.reshape_param.pixelshuffler > 1:
                n, c, r, _, h, w = self.apart
                dy = self.ops.transpose(self.ops.reshape(dy, (n, c, h, r, w, r)), (0, 1, 3, 5, 2, 4))
            bottom[0].diff = self.ops.reshape(dy, bottom[0].shape)

    def _shuffled(self, shape: tuple[int, ...], r: int) -> tuple[int, ...]:
        if len(shape) != 4 or shape[1] % (r * r):
            self.error(
                f"the bottom's shape {shape} cannot be shuffled by {r}",
                f"give it (N, C, H, W) with C a multiple of {r * r}",
            )
        n, channels, height, width = shape
        self.apart = (n, channels // (r * r), r, r, height, width)
        return (n, channels // (r * r), r * height, r * width)

    def _kept(self, shape: tuple[int, ...], axis: int) -> int:
        if axis >= len(shape):
            self.error(f"the shape {self.dims} keeps (0) axis {axis}, and the bottom {shape} has no such axis")
        return shape[axis]
