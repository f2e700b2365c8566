"""ScaleRoute: passes on the regions of a range of sizes, to the level of a feature pyramid that serves them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from ..blobs import Blob
from ..data.boxes import areas
from ..layer import Kind, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common.rows import RowsLayer

_MIDDLE = 256.0  # of all sizes


@register_layer("ScaleRoute")
class ScaleRouteLayer(RowsLayer):
    """The rows of all bottoms that belong to regions whose size, the root of their area, is in [low_scale, high_scale).

    If there is none, the region nearest to the middle of the range passes, by the ratio of sizes: the geometric mean of
    its ends; its only end if one is missing; 256 if both are. Regions are counted in whole pixels.
    Bottoms: regions (R, 5), each the number of its image, x1, y1, x2, y2; others (R, ...). Tops: one for each bottom,
    (M, ...), before the first pass one row. There is no gradient.
    Reads ``scale_route_param``: low_scale (none), high_scale (none).
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Lin et al. 2017; scale_route_layer.cpp of Cascade R-CNN's Caffe. Difference: no region, or none with an
    area, is no error (theirs dies).
    """

    kind = Kind.ARRANGEMENT
    mixes_samples = True
    formula = r"y = [\, x_r : l \le \sqrt{w_r h_r} < h \,]"
    bottoms = (1, None)
    tops = (1, None)
    equal_bottoms_tops = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.scale_route_param
        ends = [f"from {p.low_scale:g}"] if p.HasField("low_scale") else []
        return " ".join([*ends, f"to {p.high_scale:g}"] if p.HasField("high_scale") else ends)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.scale_route_param
        self.low = p.low_scale if p.HasField("low_scale") else 0.0
        self.high = p.high_scale if p.HasField("high_scale") else np.inf
        if self.low > self.high or (p.HasField("low_scale") and self.low <= 0):
            self.error(f"low_scale is {self.low:g}, high_scale {self.high:g}", "give 0 < low_scale <= high_scale")
        ends = [end for end in (self.low, self.high) if 0 < end < np.inf]
        self.middle = sqrt(ends[0] * ends[-1]) if ends else _MIDDLE

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        self.check_vectors(bottom[0], "regions", 5)
        self.check_as_many(bottom)
        return [blob.shape[1:] for blob in bottom]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        sizes = np.sqrt(areas(self.vectors(bottom[0])[:, 1:], inclusive=True))
        chosen = np.flatnonzero((sizes >= self.low) & (sizes < self.high))
        if not len(chosen) and len(sizes):
            ratios = np.maximum(sizes, np.finfo(sizes.dtype).tiny) / sizes.dtype.type(self.middle)
            chosen = np.abs(np.log(ratios)).argmin(keepdims=True)
        self.deliver_rows(top, bottom, chosen)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        rows = bottom[0].sizes[0]
        _, near, far = g.Split(g.reshape(bottom[0], (rows, 5)), [1, 2, 2], axis=1, outputs=3)
        width, height = g.Split(g.Max(g.Add(g.Sub(far, near), 1.0), 0.0), [1, 1], axis=1, outputs=2)
        size = g.reshape(g.Sqrt(g.Mul(width, height)), (rows,))
        chosen = g.And(g.GreaterOrEqual(size, self.low), g.Less(size, self.high))
        none = g.Equal(g.reduce("ReduceSum", g.Cast(chosen, to=INT64), [0]), [0])
        ratio = g.Div(g.Max(size, float(np.finfo(np.float32).tiny)), self.middle)
        nearest = g.ArgMin(g.Concat(g.Abs(g.Log(ratio)), np.array([np.inf]), axis=0), axis=0)
        places = g.Range(0, g.Gather(g.Shape(size), 0), 1)
        chosen = g.Or(chosen, g.And(none, g.Equal(places, nearest)))
        return [g.Compress(x, chosen, axis=0) for x in bottom]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        if index:
            return None
        sizes = self.middle * np.exp(rng.standard_normal((shape[0], 2)))
        return np.concatenate([np.zeros((shape[0], 3)), sizes], 1).reshape(shape)
