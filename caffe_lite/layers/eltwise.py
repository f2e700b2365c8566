"""Eltwise: the sum, product, quotient, maximum or minimum of blobs, element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import gt, lt, mul

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops import Array
from ..ops.roles import Sum
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import EltwiseParameter, LayerParameter

SUM, PROD, MAX = EltwiseParameter.SUM, EltwiseParameter.PROD, EltwiseParameter.MAX
MIN, DIV, STOCHASTIC_SUM = EltwiseParameter.MIN, EltwiseParameter.DIV, EltwiseParameter.STOCHASTIC_SUM


@register_layer("Eltwise")
class EltwiseLayer(Layer):
    """SUM: y = sum of coeff_i * x_i. PROD: y = product of x_i. MAX: y = the largest x_i.

    Forks add MIN: y = the smallest x_i, and DIV: y = x_1 / x_2 (Synopsys), and STOCHASTIC_SUM (yjxiong): in TRAIN the
    sum of those x_i that are drawn, each with probability coeff_i; in TEST as SUM.
    Bottoms: two or more of one shape. Top: that shape. Reads ``eltwise_param``: operation (SUM); coeff (1 each), for
    SUM and STOCHASTIC_SUM, without effect on MAX; stable_prod_grad (true), which computes the gradient from the product
    of the other bottoms; false divides y by x_i, which is faster for many bottoms but fails at zeros.
    Where several bottoms are largest, MAX gives the whole gradient to one of them, as the original does: to the second
    of the first two bottoms, and to an earlier one before any later one. So does MIN.
    Source: the original's eltwise_layer.cpp, and those of Synopsys' and yjxiong's Caffe.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = \sum_i a_i x_i \quad \text{or} \quad \prod_i x_i \quad \text{or} \quad \max_i x_i"
    bottoms = (2, None)
    reads_fork_fields = tuple(f"EltwiseParameter.EltwiseOp.{name}" for name in ("MIN", "DIV", "STOCHASTIC_SUM"))

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return EltwiseParameter.EltwiseOp.Name(param.eltwise_param.operation)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.eltwise_param
        if p.coeff and p.operation in (PROD, DIV, MIN):
            name = EltwiseParameter.EltwiseOp.Name(p.operation)
            self.error(f"coeff is given for operation {name}", "only SUM takes coefficients")
        if p.operation == DIV and len(bottom) > 2:
            self.error(f"operation DIV has {len(bottom)} bottoms", "give it two")
        if len(p.coeff) not in (0, len(bottom)):
            self.error(f"{len(p.coeff)} coefficients for {len(bottom)} bottoms", "give coeff once per bottom, or never")
        self.operation = p.operation
        self.draws = p.operation == STOCHASTIC_SUM and self.phase == caffe_pb2.TRAIN
        self.coeff = list(p.coeff) or [1.0] * len(bottom)
        self.stable = p.stable_prod_grad

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if any(blob.shape != bottom[0].shape for blob in bottom):
            self.error(
                f"the bottoms have different shapes: {', '.join(str(blob.shape) for blob in bottom)}",
                "Eltwise does not broadcast; Scale and Bias do",
            )
        top[0].Reshape(bottom[0].shape)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Sum | None:
        return Sum(plain=set(self.coeff) == {1.0}) if self.operation == SUM else None

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xs = [blob.data for blob in bottom]
        if self.draws:
            kept = self.ops.drawn(lambda: self.rng.random(len(xs)) <= np.array(self.coeff))
            self.saved.kept = [self.ops.astype(kept[i]) for i in range(len(xs))]
            first, *rest = map(mul, xs, self.saved.kept)
            top[0].data = sum(rest, first)
        elif self.operation in (SUM, STOCHASTIC_SUM):
            first, *rest = map(_times, self.coeff, xs)
            top[0].data = sum(rest, first)
        elif self.operation in (MAX, MIN):
            top[0].data = self._chosen(xs, gt if self.operation == MAX else lt)
        else:
            self.saved.xs = xs
            self.saved.y = top[0].data = xs[0] / xs[1] if self.operation == DIV else reduce(mul, xs)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if self.operation == DIV:
            return [g.Div(*bottom)]
        if self.operation in (MAX, MIN):
            return [g.Max(*bottom) if self.operation == MAX else g.Min(*bottom)]
        if self.operation == PROD:
            return [reduce(g.Mul, bottom)]
        y, *others = (x if coeff in (1, -1) else g.Mul(x, coeff) for coeff, x in zip(self.coeff, bottom, strict=True))
        if self.coeff[0] == -1:
            y = g.Neg(y)
        for coeff, x in zip(self.coeff[1:], others, strict=True):
            y = g.Sub(y, x) if coeff == -1 else g.Add(y, x)
        return [y]

    def _chosen(self, xs: list[Array], before: Callable[[Array, Array], Array]) -> Array:
        """Return the element that comes ``before`` the others."""
        ops = self.ops
        first = before(xs[0], xs[1])
        y, self.saved.winner = ops.where(first, xs[0], xs[1]), ops.where(first, ops.scalar(0), ops.scalar(1))
        for i, x in enumerate(xs[2:], 2):
            better = before(x, y)
            y, self.saved.winner = ops.where(better, x, y), ops.where(better, ops.scalar(i), self.saved.winner)
        return y

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        for i, blob in enumerate(bottom):
            if not propagate_down[i]:
                continue
            if self.draws:
                blob.diff = dy * self.saved.kept[i]
            elif self.operation in (SUM, STOCHASTIC_SUM):
                blob.diff = _times(self.coeff[i], dy)
            elif self.operation in (MAX, MIN):
                blob.diff = self.ops.where(self.saved.winner == i, dy, self.ops.scalar(0))
            elif self.operation == DIV:
                blob.diff = (dy if i == 0 else -dy * self.saved.y) / self.saved.xs[1]
            elif self.stable:
                blob.diff = reduce(mul, self.saved.xs[:i] + self.saved.xs[i + 1 :], dy)
            else:
                blob.diff = dy * (self.saved.y / self.saved.xs[i])


def _times(coeff: float, x: Array) -> Array:
    return x if coeff == 1 else coeff * x
