"""BatchReduction: sums or means over parts of an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import ReductionParameter

SUM, MEAN, TOPK = ReductionParameter.SUM, ReductionParameter.MEAN, ReductionParameter.TOPK


@register_layer("BatchReduction")
class BatchReductionLayer(Layer):
    """y = the sum, the mean, or the mean of the k largest, of x along an axis, or of consecutive parts of that axis.

    Bottom: (..., T, ...), with T along ``axis``. Top: without that axis for level 1, the default; else with the number
    of levels in its place: each level l takes the next l^2 elements, and together they must be T. With pos, the bottom
    has T twice, (..., T, T, ...), and x is its diagonal.
    Reads ``batch_reduction_param``: level (1), pos (false; true: one level only), reduction_param, in it operation
    (SUM; or MEAN, or TOPK with one level), axis (0; may be negative), k (1).
    Source: Zhao et al. 2017 (structured segment networks); batch_reduction_layer.cpp of yjxiong's Caffe.
    Differences: with pos, the two axes must have one size; k must not exceed T (yjxiong's reads beyond its memory).
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_l = a_l \sum_{t \in \text{part}_l} x_t"
    reads_fork_fields = ("ReductionParameter.k", "ReductionParameter.ReductionOp.TOPK")

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.batch_reduction_param
        self.levels = list(p.level) or [1]
        self.operation = p.reduction_param.operation
        if self.operation not in (SUM, MEAN, TOPK):
            name = ReductionParameter.ReductionOp.Name(self.operation)
            self.error(f"operation is {name}", "use SUM, MEAN or TOPK")
        if min(self.levels) < 1:
            self.error(f"a level is {min(self.levels)}", "use 1 or more")
        if len(self.levels) > 1 and (p.pos or self.operation == TOPK):
            self.error(f"pos or TOPK is set for {len(self.levels)} levels", "give it one level")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.batch_reduction_param, bottom[0].shape
        self.along = self.axis(p.reduction_param.axis, len(shape))
        size, before, after = shape[self.along], shape[: self.along], shape[self.along + 1 :]
        if p.pos:
            if not after or after[0] != size:
                self.error(f"pos is set, and the bottom {shape} has no second axis of {size}", "give it (..., T, T)")
            after = after[1:]
        whole = self.levels == [1]
        self.parts = [size] if whole else [level * level for level in self.levels]
        if sum(self.parts) != size:
            self.error(
                f"the levels {self.levels} take {sum(self.parts)} elements, axis {self.along} of {shape} has {size}",
                "choose levels whose squares add up to the axis",
            )
        if self.operation == TOPK and not 1 <= p.reduction_param.k <= size:
            self.error(f"k is {p.reduction_param.k}, and there are {size} elements", f"use 1 to {size}")
        top[0].Reshape((*before, *([] if whole else [len(self.parts)]), *after))

    @property
    def mixes_samples(self) -> bool:
        return self.along == 0

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x, at = self.ops, bottom[0].data, self.along
        if self.param.batch_reduction_param.pos:
            x = ops.sum(x * self._diagonal(x.ndim), at + 1)
        if self.operation == TOPK:
            k = self.param.batch_reduction_param.reduction_param.k
            best = ops.largest(x, k, at)
            chosen = [ops.one_hot(best[self._slice(i, i + 1)], x.shape[at], at) for i in range(k)]
            self.saved.shares = sum(chosen[1:], chosen[0]) / k
            y = ops.sum(x * self.saved.shares, at)
        else:
            first, sums = 0, []
            for size in self.parts:
                part = ops.sum(x[self._slice(first, first + size)], at, keepdims=True)
                sums.append(part / max(1, size) if self.operation == MEAN else part)
                first += size
            y = ops.concat(sums, at)
        top[0].data = ops.reshape(y, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p, x, at = self.param.batch_reduction_param, bottom[0], self.along
        if p.pos:
            if x.sizes[at] is None:
                self.error("pos takes the diagonal of a batch", "Export it for one size of batch")
            x = g.reduce("ReduceSum", g.Mul(x, self.ops.host_view(self._diagonal(x.ndim))), [at + 1], keepdims=False)
        if self.operation == TOPK:
            x, _ = g.TopK(x, [p.reduction_param.k], axis=at, outputs=2)
        op = "ReduceSum" if self.operation == SUM else "ReduceMean"
        if len(self.parts) == 1:
            return [g.reduce(op, x, [at], keepdims=self.levels != [1])]
        parts = g.Split(x, self.parts, axis=at, outputs=len(self.parts))
        return [g.Concat(*(g.reduce(op, part, [at]) for part in parts), axis=at)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops, at, shape = self.ops, self.along, bottom[0].shape
        pos = self.param.batch_reduction_param.pos
        rest = shape[at + 1 + pos :]
        dy = ops.reshape(top[0].diff, (*shape[:at], len(self.parts), *rest))
        if self.operation == TOPK:
            dx = dy * self.saved.shares
        else:
            shares = [ops.full((*shape[:at], size, *rest), self._share(size)) for size in self.parts]
            parts = [dy[self._slice(i, i + 1)] * share for i, share in enumerate(shares)]
            dx = ops.concat(parts, at)
        if pos:
            dx = ops.reshape(dx, (*shape[: at + 1], 1, *rest)) * self._diagonal(len(shape))
        bottom[0].diff = dx

    def _share(self, size: int) -> float:
        return 1 / max(1, size) if self.operation == MEAN else 1.0

    def _slice(self, start: int, stop: int) -> tuple[slice, ...]:
        return (*[slice(None)] * self.along, slice(start, stop))

    def _diagonal(self, num_axes: int) -> Array:
        """Return the unit matrix over the two axes of ``pos``."""
        size = self.parts[0]
        return self.ops.asarray(np.eye(size).reshape(size, size, *[1] * (num_axes - self.along - 2)))
