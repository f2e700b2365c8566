"""RNN: the plain recurrent layer, over the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .recurrent import RecurrentLayer


@register_layer("RNN")
class RNNLayer(RecurrentLayer):
    """In every step, h' = tanh(W_xh x + b_h + W_xh_static x_static + W_hh (cont h)); the output is
    tanh(W_ho h' + b_o).

    Bottoms: x (T, N, ...), cont (T, N), optionally x_static (N, ...); with expose_hidden, h (1, N, D) follows.
    Tops: (T, N, D); with expose_hidden, the last h (1, N, D) follows.
    Blobs: W_xh (D, I), b_h (D), W_xh_static (D, S) if there is a static input, W_hh (D, D), W_ho (D, D), b_o (D).
    Reads ``recurrent_param``; see RecurrentLayer for its fields, the states between passes and what differs.
    Source: Elman 1990; Donahue et al. 2015 (LRCN); the original's rnn_layer.cpp.
    """

    formula = r"h_t = \tanh(W_{xh} x_t + W_{hh} (\text{cont}_t h_{t-1}) + b_h), \quad y_t = \tanh(W_{ho} h_t + b_o)"
    bottoms = (2, 4)
    tops = (1, 2)
    states = ("h",)
    gate_blob = "h_neuron_input"
    gate_layer = "h_input_sum"
    state_layer = "h_neuron"

    def more_shapes(self) -> list[tuple[int, ...]]:
        return [(self.num_output, self.num_output), (self.num_output,)]

    def step(self, gates: Array, cont: Array, states: Sequence[Array]) -> tuple[list[Array], tuple[Array, ...]]:
        h = self.ops.tanh(gates)
        return [h], (h,)

    def step_backward(self, kept: tuple[Array, ...], *d_states: Array | float) -> tuple[Array, ...]:
        (dh,), (h,) = d_states, kept
        return (dh * (1 - h * h),)

    def output(self, h: Array) -> Array:
        self.saved.h = h
        self.saved.y = self.ops.tanh(self.ops.inner_product(h, self.blobs[-2].data, self.blobs[-1].data))
        return self.saved.y

    def output_backward(self, dy: Array) -> Array:
        last = len(self.blobs) - 1
        dh = self.learn(dy * (1 - self.saved.y * self.saved.y), self.saved.h, last - 1, last, True)
        assert dh is not None
        return dh

    def step_onnx(self, g: OnnxGraph, gates: Value, cont: Value, states: Sequence[Value]) -> Sequence[Value]:
        return [g.Tanh(gates)]

    def output_onnx(self, g: OnnxGraph, h: Value) -> Value:
        weight, bias = (g.value(blob) for blob in self.blobs[-2:])
        y: Value = g.Tanh(g.Add(g.MatMul(h, g.Transpose(weight, perm=[1, 0])), bias))
        return y
