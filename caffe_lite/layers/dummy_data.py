"""DummyData: blobs filled by fillers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2
from .common.fillers import fill
from .input import sizes

T = TypeVar("T")


@register_layer("DummyData")
class DummyDataLayer(Layer):
    """Tops filled by fillers: by constant fillers once, before the first pass; by all others again in every pass.

    Tops: any number. Reads ``dummy_data_param``: data_filler (constant 0), one for all tops or one per top; shape, one
    for all or one per top; or, formerly, num, channels, height and width, each once or once per top.
    Values that a user writes into a constant top stay, as in the original, and so do those that an in-place layer
    computes there.
    Source: the original's dummy_data_layer.cpp.
    """

    kind = Kind.DATA
    formula = r"y \sim \text{filler}"
    bottoms = (0, 0)
    tops = (1, None)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.dummy_data_param
        fillers = self._per_top("data_filler", p.data_filler or [caffe_pb2.FillerParameter()], len(top))
        for blob, shape in zip(top, self._shapes(len(top)), strict=True):
            blob.Reshape(sizes(self, shape))
        filled = list(zip(top, fillers, strict=True))
        for blob, filler in filled:
            fill(blob, filler, self.rng)
        self.filled = top
        self.refilled = [(blob, filler) for blob, filler in filled if filler.type != "constant"]
        self.is_constant = not self.refilled

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, filler in self.refilled:
            fill(blob, filler, self.rng)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.constant(self.ops.host_view(blob.data)) for blob in self.filled]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass

    def _shapes(self, tops: int) -> Sequence[Sequence[int]]:
        p = self.param.dummy_data_param
        formerly = {"num": p.num, "channels": p.channels, "height": p.height, "width": p.width}
        if not any(formerly.values()):
            return [shape.dim for shape in self._per_top("shape", p.shape, tops)]
        if p.shape:
            self.error("both shape and num, channels, height, width are given", "give shape alone")
        return list(zip(*(self._per_top(field, values, tops) for field, values in formerly.items()), strict=True))

    def _per_top(self, field: str, values: Sequence[T], tops: int) -> list[T]:
        if len(values) not in (1, tops):
            self.error(f"{field} is given {len(values)} times for {tops} tops", f"give {field} once, or once per top")
        return list(values) * (tops if len(values) == 1 else 1)
