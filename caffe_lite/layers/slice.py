"""Slice: cuts a blob into pieces along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import END, OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .concat import axis_or_dim, span


@register_layer("Slice")
class SliceLayer(Layer):
    """The bottom cut along ``axis``, at the slice points or into equal pieces.

    Bottom: (N, C, H, W). Tops: (N, C_i, H, W), where the C_i add up to C; they are views of the bottom's memory, not
    copies.
    Reads ``slice_param``: axis (1), formerly slice_dim; slice_point, where each top but the first begins.
    Source: the original's slice_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"[\, y_1, y_2, \ldots ] = x"
    tops = (1, None)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return "" if param.slice_param.axis == 1 else f"axis {param.slice_param.axis}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.axis_given, self.field = axis_or_dim(self, self.param.slice_param, "slice_dim")
        points = self.param.slice_param.slice_point
        if points and len(points) != len(top) - 1:
            self.error(
                f"{len(points)} slice_points for {len(top)} tops",
                f"give {len(top) - 1}, where each top but the first begins, or none for equal pieces",
            )

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.at = self.axis(self.axis_given, len(shape), self.field)
        self.pieces = self._pieces(shape[self.at], len(top))
        for blob, (start, end) in zip(top, self.pieces, strict=True):
            blob.Reshape((*shape[: self.at], end - start, *shape[self.at + 1 :]))

    def _pieces(self, size: int, tops: int) -> list[tuple[int, int]]:
        """Return where each top begins and ends."""
        points = list(self.param.slice_param.slice_point)
        if not points:
            if size % tops:
                self.error(f"{tops} tops cannot share the {size} of axis {self.at} equally", "give slice_point")
            points = [i * size // tops for i in range(1, tops)]
        elif any(start >= end for start, end in pairwise([0, *points, size])):
            self.error(
                f"the slice points {points} leave a top nothing of axis {self.at}, which has {size}",
                f"let them rise, from 1 at least to {size - 1} at most"
                if size >= tops
                else f"it takes {tops} at least",
            )
        return list(pairwise([0, *points, size]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        for blob, piece in zip(top, self.pieces, strict=True):
            blob.data = x[span(self.at, *piece)]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if len(top) == 1:
            return [bottom[0]]
        sizes = [value.sizes[self.at] for value in top]
        if None not in sizes:
            return g.Split(bottom[0], sizes, axis=self.at, outputs=len(top))
        if set(sizes) == {None}:  # equal pieces of any size
            num = len(top) if g.opset >= 18 else None
            return g.Split(bottom[0], axis=self.at, outputs=len(top), num_outputs=num)
        return [
            g.slice(bottom[0], [start], [END if size is None else end], [self.at])
            for (start, end), size in zip(self.pieces, sizes, strict=True)
        ]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.concat([blob.diff for blob in top], self.at)
