"""BatchReindex: samples picked from a batch, in any order and number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from .common.indices import row_indices


@register_layer("BatchReindex")
class BatchReindexLayer(Layer):
    """y_n = x_i(n): sample n of the top is the sample of x that index n names. Gradients of the same sample add up.

    Bottoms: x (N, ...); indices (M), whole numbers from 0 to N - 1. Top: (M, ...).
    Source: the original's batch_reindex_layer.cpp. As in the original, an index is truncated to a whole number.
    """

    kind = Kind.ARRANGEMENT
    mixes_samples = True
    formula = r"y_n = x_{i_n}"
    bottoms = (2, 2)
    not_differentiable = (1,)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, index = bottom
        if index.num_axes != 1:
            self.error(f"the indices have the shape {index.shape}", "give them one axis: (M)")
        if not x.shape:
            self.error("the first bottom is a scalar", "give it a batch: (N, ...)")
        self.samples = x.shape[0]
        top[0].Reshape((*index.shape, *x.shape[1:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, index = bottom
        self.saved.index = row_indices(self, index, self.samples, "samples", "indices count from 0: correct them")
        top[0].data = self.ops.take_rows(x.data, self.saved.index)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.Gather(bottom[0], g.Cast(bottom[1], to=INT64), axis=0)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return rng.integers(0, self.samples, shape) if index and self.samples else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.error(
                "a gradient is asked for the indices, and there is none",
                "give the layer propagate_down: true for its first bottom and propagate_down: false for its second",
            )
        if propagate_down[0]:
            bottom[0].diff = self.ops.sum_rows(top[0].diff, self.saved.index, self.samples)
