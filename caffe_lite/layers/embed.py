"""Embed: a learned vector for each number (each word, say)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .common.indices import row_indices


@register_layer("Embed")
class EmbedLayer(Layer):
    """y = W[i] + b for each i of the bottom: an InnerProduct of one-hot vectors, without making those vectors.

    Bottom: whole numbers from 0 to input_dim - 1, any shape (...). Top: (..., num_output).
    Blobs: W (input_dim, num_output); b (num_output).
    Reads ``embed_param``: num_output, input_dim, bias_term (true), weight_filler, bias_filler.
    Source: the original's embed_layer.cpp. As in the original, a number is truncated to a whole one. Difference: a
    number outside 0 to input_dim - 1 is an error (in release builds, the original reads memory beyond W, and writes to
    it).
    """

    kind = Kind.PRODUCT
    formula = r"y_n = W_{x_n} + b"
    not_differentiable = (0,)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.embed_param.input_dim} → {param.embed_param.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.embed_param
        for field in ("num_output", "input_dim"):
            if getattr(p, field) < 1:
                self.error(f"{field} is {getattr(p, field)}", f"give embed_param {field} of at least 1")
        self.num_output, self.input_dim = p.num_output, p.input_dim
        self.blobs = [Blob(self.ops, (self.input_dim, self.num_output))]
        fill(self.blobs[0], p.weight_filler, self.rng)
        if p.bias_term:
            self.blobs.append(Blob(self.ops, (self.num_output,)))
            fill(self.blobs[1], p.bias_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape((*bottom[0].shape, self.num_output))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        hint = "indices count from 0: correct them, or raise input_dim"
        self.saved.index = row_indices(self, bottom[0], self.input_dim, "rows of the weights", hint)
        y = self.ops.take_rows(self.blobs[0].data, self.saved.index)
        if len(self.blobs) > 1:
            y = y + self.blobs[1].data
        top[0].data = self.ops.reshape(y, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        y = g.Gather(self.blobs[0], g.Cast(bottom[0], to=INT64), axis=0)
        return [g.Add(y, self.blobs[1]) if len(self.blobs) > 1 else y]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, self.input_dim, shape)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self.error("a gradient is asked for indices, and there is none", "set propagate_down: false for its bottom")
        dy = self.ops.reshape(top[0].diff, (bottom[0].count, self.num_output))
        if self.param_propagate_down[0]:
            self.blobs[0].add_diff(self.ops.sum_rows(dy, self.saved.index, self.input_dim))
        if len(self.blobs) > 1 and self.param_propagate_down[1]:
            self.blobs[1].add_diff(self.ops.sum(dy, 0))
