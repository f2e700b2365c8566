"""Filter: passes on the samples that a selector names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import UnknownSize
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import BOOL, OnnxGraph, Value


@register_layer("Filter")
class FilterLayer(Layer):
    """Each top holds the samples of its bottom for which the selector is not 0, in their order.

    Bottoms: one or more (N, ...), and last the selector, (N) or (N, 1, ...). Tops: one for each bottom except the last,
    (M, ...), where M is the number of samples selected, possibly 0; before the first pass it is N. A sample that is
    not selected gets no gradient, and neither does the selector.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: the original's filter_layer.cpp. Differences: running in place is refused (the original computes wrong
    gradients), and so is a loss_weight; the backward pass accepts an empty selection (the original divides by zero).
    """

    kind = Kind.ARRANGEMENT
    rows_vary = True
    formula = r"y = [\, x_n : s_n \neq 0 ]"
    bottoms = (2, None)
    tops = (1, None)
    not_differentiable = (-1,)
    samples = 0
    passed: int | None = None  # number of samples that the last pass let through

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) != len(bottom) - 1:
            self.error(f"{len(bottom)} bottoms and {len(top)} tops", "give one top for each bottom but the last")
        if any(blob is other for blob in top for other in bottom):
            self.error("Filter cannot run in place", "give its tops other names than its bottoms")
        if any(self.param.loss_weight):
            self.error("a loss_weight is given", "let a Reduction layer sum the top, and give it the loss_weight")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        *filtered, selector = bottom
        if selector.count != sum(selector.shape[:1]):
            self.error(f"the selector has the shape {selector.shape}", "give it one number for each sample: (N)")
        for blob in filtered:
            if blob.shape[:1] != selector.shape[:1]:
                self.error(
                    f"the selector {selector.shape} and the bottom {blob.shape} differ in their first axis",
                    "give all bottoms the same number of samples",
                )
        if self.samples != selector.count:
            self.passed, self.samples = None, selector.count
        self._shape(bottom, top)

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().outline(bottom, top)
        passed: Any = UnknownSize()
        for blob in top:
            blob.Reshape((passed, *blob.shape[1:]))

    def _shape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        passed = self.samples if self.passed is None else self.passed
        for x, y in zip(bottom, top, strict=False):
            y.Reshape((passed, *x.shape[1:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.index = index = self.ops.nonzero(self.ops.reshape(bottom[-1].data, (self.samples,)))
        self.passed = index.shape[0]
        self._shape(bottom, top)
        for x, y in zip(bottom, top, strict=False):
            y.data = self.ops.take_rows(x.data, index)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        selected = g.Cast(g.reshape(bottom[-1], bottom[-1].sizes[:1]), to=BOOL)
        return [g.Compress(x, selected, axis=0) for x in bottom[:-1]]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        selects = index == len(self.param.bottom) - 1
        return rng.integers(0, 2, shape) if selects else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[-1]:
            self.error(
                "a gradient is asked for the selector, and there is none",
                "give the layer propagate_down: once per bottom, false for the last",
            )
        for x, y, wanted in zip(bottom, top, propagate_down, strict=False):
            if wanted:
                x.diff = self.ops.sum_rows(y.diff, self.saved.index, self.samples)
