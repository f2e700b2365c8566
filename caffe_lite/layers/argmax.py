"""ArgMax: the positions of the largest values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import FLOAT, OnnxGraph, Value


@register_layer("ArgMax")
class ArgMaxLayer(Layer):
    """The indices of the ``top_k`` largest values, largest first; of equal values, the later one comes first.

    Bottom: (N, ...). Without ``axis``, everything after the first axis is one row of values, and the top is
    (N, 1, top_k), or with out_max_val (N, 2, top_k): indices, then values; if the bottom has more than three axes, 1s
    follow until the top has as many. With ``axis``, the top has the bottom's shape except for top_k along that axis:
    indices, or with out_max_val only the values.
    Reads ``argmax_param``: out_max_val (false), top_k (1), axis (none; may be negative); min_first (false), of
    Synopsys' Caffe: the smallest values instead, smallest first, and of equal ones the earlier. There is no gradient.
    Source: the original's argmax_layer.cpp. Difference: NaN counts as larger than any number (undefined in the
    original).
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = \operatorname{argmax}_i x_i"
    not_differentiable = (0,)
    reads_fork_fields = ("ArgMaxParameter.min_first",)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.argmax_param
        self.top_k, self.out_max_val, self.has_axis = p.top_k, p.out_max_val, p.HasField("axis")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            self.error("the bottom is a scalar", "ArgMax needs a batch: (N, ...)")
        if self.has_axis:
            self.along = self.axis(self.param.argmax_param.axis, len(shape))
            self.rows = shape
        else:
            self.along = 1
            self.rows = (shape[0], prod(shape[1:]))
        if not 1 <= self.top_k <= self.rows[self.along]:
            self.error(
                f"top_k is {self.top_k}, and the bottom {shape} has {self.rows[self.along]} values to choose from",
                f"use 1 to {self.rows[self.along]}",
            )
        if self.has_axis:
            top[0].Reshape((*shape[: self.along], self.top_k, *shape[self.along + 1 :]))
        else:
            top[0].Reshape((shape[0], 2 if self.out_max_val else 1, self.top_k, *[1] * (len(shape) - 3)))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        x = ops.reshape(bottom[0].data, self.rows)
        if self.param.argmax_param.min_first:
            index = ops.argsort(x, self.along)[(*[slice(None)] * self.along, slice(self.top_k))]
        else:
            index = ops.largest(x, self.top_k, self.along)
        results = [] if self.has_axis and self.out_max_val else [ops.astype(index)]
        if self.out_max_val:
            results.append(ops.pick(x, index, self.along))
        top[0].data = ops.reshape(ops.concat(results, self.along), top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, at, least = bottom[0], self.along, self.param.argmax_param.min_first
        if not self.has_axis:
            x = g.reshape(x, (x.sizes[0], self.rows[1]))
        if self.top_k == 1 and not self.out_max_val:
            index = g.ArgMin(x, axis=at) if least else g.ArgMax(x, axis=at, select_last_index=1)
            results = [g.Cast(index, to=FLOAT)]
        else:
            results = self._top_k_in_onnx(g, x, at, least)
        y = results[0] if len(results) == 1 else g.Concat(*results, axis=at)
        return [y if self.has_axis else g.reshape(y, top[0].sizes)]

    def _top_k_in_onnx(self, g: OnnxGraph, x: Value, at: int, least: bool) -> list[Value]:
        size = x.sizes[at]
        if size is None:
            self.error("it compares the items of a batch", "Export it for one size of batch")
        # Of equal values, TopK takes the earlier ones first.
        y, index = g.TopK(x if least else g.flip(x, [at]), [self.top_k], axis=at, largest=int(not least), outputs=2)
        index = g.Cast(index if least else g.Sub(size - 1, index), to=FLOAT)
        if not self.out_max_val:
            return [index]
        return [y] if self.has_axis else [index, y]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("an index has no gradient", "set propagate_down: false for its bottom")
