"""Tile: repeats the same values several times."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("Tile")
class TileLayer(Layer):
    """``tiles`` copies of the bottom, one after another along ``axis``; its gradient is the sum of theirs.

    Bottom: (N, C, ...). Top: (N, tiles * C, ...). Reads ``tile_param``: tiles; axis (1; may be negative).
    Source: the original's tile_layer.cpp.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = [\, x, x, \ldots ]"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.tiles = self.param.tile_param.tiles
        if self.tiles < 1:
            self.error(f"tiles is {self.tiles}", "give tile_param a number of tiles of at least 1")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.along = self.axis(self.param.tile_param.axis, len(shape))
        self.before, self.after = shape[: self.along], shape[self.along :]
        top[0].Reshape((*self.before, self.tiles * self.after[0], *self.after[1:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.concat([bottom[0].data] * self.tiles, self.along)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        repeats = [self.tiles if axis == self.along else 1 for axis in range(bottom[0].ndim)]
        return [g.Tile(bottom[0], repeats) if self.tiles > 1 else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            tiles = self.ops.reshape(top[0].diff, (*self.before, self.tiles, *self.after))
            bottom[0].diff = self.ops.sum(tiles, self.along)
