"""Lstm: caffe-lstm's layer of long short-term memory, with steps and streams in one axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import FLOAT, OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .common.onnx_recurrence import beginnings, lstm, scan, zero_state
from .lstm_unit import lstm_unit, lstm_unit_backward, lstm_unit_onnx


@register_layer("Lstm")
class CaffeLstmLayer(Layer):
    """(i, f, o, g) = W_i x + W_h (clip h) + b, c' = clip sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').

    It computes what LSTM computes from other blobs. Row t N + n of the bottom is step t of stream n.
    Bottoms: x (T N, ...); optionally clip, T N numbers: 0 where a sequence begins, else it continues. Top: the h' of
    each row, (T N, num_output). Blobs: W_i (4 H, I), W_h (4 H, H), b (4 H).
    Without clip, each Forward starts N sequences. With it, states go on from one Forward to the next, and a snapshot
    holds them; no gradient goes back to the Forward before.
    Reads ``lstm_param``: num_output, H; batch_size (1), N; weight_filler, bias_filler, clipping_threshold (0: none):
    the gradients of the gates before sigmoid and tanh are limited to this, step by step.
    Source: Gers, Schmidhuber and Cummins 2000; lstm_layer.cpp of junhyukoh's Caffe. Differences: with more than one
    stream, the original reads the clip of other rows, t + n; it gives W_h a gradient also where a sequence begins, and
    drops that of the first step of all streams but one.
    """

    kind = Kind.PRODUCT
    formula = r"c_t = \sigma(f_t) c_{t-1} + \sigma(i_t) \tanh(g_t), \quad h_t = \sigma(o_t) \tanh(c_t)"
    bottoms = (1, 2)
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.lstm_param.num_output}"

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.lstm_param
        if p.num_output < 1 or p.batch_size < 1:
            self.error(
                f"num_output is {p.num_output} and batch_size is {p.batch_size}", "give lstm_param 1 or more of each"
            )
        self.size, self.streams = p.num_output, p.batch_size
        self.inputs = prod(bottom[0].shape[1:])
        if not self.inputs:
            self.error(f"the bottom's shape {bottom[0].shape} gives nothing to read in a step", "check what makes it")
        for shape in (4 * self.size, self.inputs), (4 * self.size, self.size), (4 * self.size,):
            self.blobs.append(Blob(self.ops, shape))
            fill(self.blobs[-1], p.weight_filler if len(shape) > 1 else p.bias_filler, self.rng)
        self.carried = [Blob(self.ops, (self.streams, self.size)) for _ in "hc"] if len(bottom) > 1 else []

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        rows, inputs = prod(shape[:1]), prod(shape[1:])
        if inputs != self.inputs:
            self.error(
                f"the bottom's shape {shape} gives {inputs} inputs at a time, the weights have {self.inputs}",
                "keep the input size that the net was made with, or make the net anew",
            )
        if rows % self.streams:
            self.error(f"the bottom has {rows} rows for {self.streams} streams", "give it as many rows for each stream")
        if len(bottom) > 1 and bottom[1].count != rows:
            self.error(
                f"the bottoms have the shapes {shape} and {bottom[1].shape}", "give clip one number for each row"
            )
        self.steps = rows // self.streams
        top[0].Reshape((rows, self.size))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each row."""
        return self.steps * self.streams * (self.blobs[0].count + self.blobs[1].count)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, saved, steps, streams = self.ops, self.saved, self.steps, self.streams
        of_x, of_h, bias = (blob.data for blob in self.blobs)
        saved.x = ops.reshape(bottom[0].data, (steps * streams, self.inputs))
        gates = ops.reshape(ops.inner_product(saved.x, of_x, bias), (steps, streams, 4 * self.size))
        saved.clip = self._clip(bottom[1:])
        h, c = (blob.data for blob in self.carried) if self.carried else [ops.zeros((streams, self.size))] * 2
        outputs, saved.before, saved.kept = [], [], []
        for t in range(steps):
            before = saved.clip[t] * h
            c, h, kept = lstm_unit(ops, c, gates[t] + ops.inner_product(before, of_h, None), saved.clip[t])
            outputs.append(h)
            saved.before.append(before)
            saved.kept.append(kept)
        top[0].data = self._rows(outputs, self.size)
        for blob, state in zip(self.carried, (h, c), strict=False):
            blob.data = state

    def goes_on(self, bottom: Sequence[Blob]) -> bool:
        return bool(self.carried) and bool(self.ops.host_view(bottom[1].data).ravel()[: self.streams].any())

    def forget(self) -> None:
        for blob in self.carried:
            blob.data = self.ops.zeros(blob.shape)

    def _clip(self, given: Sequence[Blob]) -> Array:
        """Return 1 where a sequence goes on, else 0, as (T, N, 1)."""
        ops, shape = self.ops, (self.steps, self.streams, 1)
        if given:
            return ops.reshape(ops.astype(given[0].data != 0), shape)
        return ops.concat([ops.zeros((1, self.streams, 1)), ops.full(shape, 1.0)], 0)[: self.steps]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        """Write all steps as an LSTM or, with clip, as a Scan, which starts from states of 0 in every run."""
        rows, steps = bottom[0].sizes[0], None if bottom[0].sizes[0] is None else self.steps
        x = g.reshape(bottom[0], (rows, self.inputs))
        of_x, of_h, bias = self.blobs
        if len(bottom) == 1:
            weights = (self.ops.host_view(blob.data) for blob in self.blobs)
            return [g.reshape(lstm(g, g.reshape(x, (steps, self.streams, self.inputs)), *weights), top[0].sizes)]
        gates = g.reshape(g.Gemm(x, of_x, bias, transB=1), (steps, self.streams, 4 * self.size))
        goes_on = g.Cast(g.Not(g.Equal(bottom[1], 0.0)), to=FLOAT)
        clip = g.reshape(goes_on, (steps, self.streams, 1))

        def step(body: OnnxGraph, states: Sequence[Value], gates: Value, clip: Value) -> Sequence[Value]:
            h, c = states
            gates = body.Gemm(body.Mul(clip, h), of_h, gates, transB=1)
            c, h = lstm_unit_onnx(body, c, gates, clip, self.size)
            return [h, c]

        outputs, _ = scan(g, step, [zero_state(g, gates, self.size)] * 2, gates, clip)
        return [g.reshape(outputs, top[0].sizes)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return beginnings((self.steps, self.streams), rng).reshape(shape) if index == 1 else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down[1:]):
            self.error("a gradient is asked for clip, and there is none", "set propagate_down: false for it")
        ops, saved, limit = self.ops, self.saved, self.param.lstm_param.clipping_threshold
        of_x, of_h, _ = (blob.data for blob in self.blobs)
        outputs = ops.reshape(top[0].diff, (self.steps, self.streams, self.size))
        dh: Array | float = 0.0
        dc: Array | float = 0.0
        steps = []
        for t in reversed(range(self.steps)):
            dc, d_gates = lstm_unit_backward(ops, saved.kept[t], dc, outputs[t] + dh)
            if limit > 0:
                d_gates = ops.at_most(ops.at_least(d_gates, -limit), limit)
            dh = saved.clip[t] * (d_gates @ of_h)
            steps.append(d_gates)
        d_gates = self._rows(steps[::-1], 4 * self.size)
        wanted = self.param_propagate_down
        dx, dw, db = ops.inner_product_backward(d_gates, saved.x, of_x, (propagate_down[0], wanted[0], wanted[2]))
        if dx is not None:
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)
        if dw is not None:
            self.blobs[0].add_diff(dw)
        if wanted[1]:
            self.blobs[1].add_diff(d_gates.T @ self._rows(saved.before, self.size))
        if db is not None:
            self.blobs[2].add_diff(db)

    def _rows(self, steps: Sequence[Array], width: int) -> Array:
        """Stack the rows of all steps; there may be none."""
        return self.ops.concat(steps, 0) if steps else self.ops.zeros((0, width))
