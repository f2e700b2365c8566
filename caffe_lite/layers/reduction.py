"""Reduction: reduces the last axes to one number."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import ReductionParameter

SUM, ASUM, SUMSQ, MEAN = (
    ReductionParameter.SUM,
    ReductionParameter.ASUM,
    ReductionParameter.SUMSQ,
    ReductionParameter.MEAN,
)


@register_layer("Reduction")
class ReductionLayer(Layer):
    """y = coeff times the sum of x (SUM), of |x| (ASUM), of x^2 (SUMSQ), or the mean of x (MEAN), from ``axis`` on.

    Bottom: any shape. Top: the axes before ``axis``; a scalar where axis is 0.
    Reads ``reduction_param``: operation (SUM), axis (0; may be negative), coeff (1).
    Source: the original's reduction_layer.cpp. Difference: the mean of nothing is 0 (the original gives NaN).
    """

    kind = Kind.ARRANGEMENT
    formula = (
        r"y = a \sum_i x_i \quad \text{or} \quad a \sum_i |x_i| "
        r"\quad \text{or} \quad a \sum_i x_i^2 \quad \text{or} \quad \frac{a}{n} \sum_i x_i"
    )

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.operation = self.param.reduction_param.operation

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.reduction_param, bottom[0].shape
        first = self.axis(p.axis, len(shape))
        self.reduced = tuple(range(first, len(shape)))
        # A loss that is the sum over the batch is the mean of the sums over its parts, times their number.
        parts = 1 if first or not any(self.param.loss_weight) else self.workers
        self.coeff = p.coeff / max(1, prod(shape[first:])) if self.operation == MEAN else p.coeff * parts
        top[0].Reshape(shape[:first])

    @property
    def mixes_samples(self) -> bool:
        return 0 in self.reduced and not any(self.param.loss_weight)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = x = bottom[0].data
        if self.operation == ASUM:
            x = self.ops.abs(x)
        elif self.operation == SUMSQ:
            x = x * x
        top[0].data = self.ops.affine(self.ops.sum(x, self.reduced), self.coeff, 0.0)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, coeff = bottom[0], self.param.reduction_param.coeff
        if self.operation == ASUM:
            x = g.Abs(x)
        elif self.operation == SUMSQ:
            x = g.Mul(x, x)
        y = g.reduce("ReduceMean" if self.operation == MEAN else "ReduceSum", x, self.reduced, keepdims=False)
        return [g.affine(y, coeff)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops = self.ops
        if self.operation in (SUM, MEAN):
            slope = ops.full(bottom[0].shape, self.coeff)
        elif self.operation == ASUM:
            slope = ops.affine(ops.sign(self.saved.x), self.coeff, 0.0)
        else:
            slope = self.saved.x * (2 * self.coeff)
        bottom[0].diff = slope * ops.reshape(top[0].diff, (*top[0].shape, *[1] * len(self.reduced)))
