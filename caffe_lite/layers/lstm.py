"""LSTM: long short-term memory, over the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence

from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.onnx_recurrence import begin_together, lstm
from .lstm_unit import lstm_unit, lstm_unit_backward, lstm_unit_onnx
from .recurrent import RecurrentLayer


@register_layer("LSTM")
class LSTMLayer(RecurrentLayer):
    """In every step, (i, f, o, g) = W_xc x + b_c + W_xc_static x_static + W_hc (cont h) and, as in LSTMUnit,
    c' = cont sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'); the output is h'.

    Bottoms: x (T, N, ...), cont (T, N), optionally x_static (N, ...); with expose_hidden, h and c follow, each
    (1, N, D). Tops: (T, N, D); with expose_hidden, the last h and c follow, each (1, N, D).
    Blobs: W_xc (4 D, I), b_c (4 D), W_xc_static (4 D, S) if there is a static input, W_hc (4 D, D).
    Reads ``recurrent_param``; see RecurrentLayer for its fields, the states between passes and what differs.
    Source: Hochreiter and Schmidhuber 1997; Donahue et al. 2015 (LRCN); the original's lstm_layer.cpp.
    """

    formula = r"c_t = \text{cont}_t \, \sigma(f_t) c_{t-1} + \sigma(i_t) \tanh(g_t), \quad h_t = \sigma(o_t) \tanh(c_t)"
    bottoms = (2, 5)
    tops = (1, 3)
    states = ("h", "c")
    gate_blob = "gate_input"
    gate_layer = "gate_input"
    state_layer = "unit"
    gates_per_output = 4

    def step(self, gates: Array, cont: Array, states: Sequence[Array]) -> tuple[list[Array], tuple[Array, ...]]:
        c, h, kept = lstm_unit(self.ops, states[1], gates, cont)
        return [h, c], kept

    def step_backward(self, kept: tuple[Array, ...], *d_states: Array | float) -> tuple[Array, ...]:
        dh, dc = d_states
        dc, d_gates = lstm_unit_backward(self.ops, kept, dc, dh)
        return d_gates, dc

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        """Write all steps as an LSTM if every sequence begins with the first step, else as RecurrentLayer does."""
        x, cont, *others = bottom
        if others or not begin_together(cont):
            return super().to_onnx(g, bottom, top)
        of_x, bias, of_h = (self.ops.host_view(blob.data) for blob in self.blobs)
        return [lstm(g, g.flat(x, 2, x.ndim), of_x, of_h, bias)]

    def step_onnx(self, g: OnnxGraph, gates: Value, cont: Value, states: Sequence[Value]) -> Sequence[Value]:
        c, h = lstm_unit_onnx(g, states[1], gates, cont, self.num_output)
        return [h, c]
