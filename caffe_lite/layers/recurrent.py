"""The base class of the recurrent layers: forward through the time steps, and backward."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer
from ..logs.log import logger
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .common.onnx_recurrence import beginnings, scan, zero_state


class RecurrentLayer(Layer):
    """gates_t = W_x x_t + b + W_static x_static + W_h (cont_t h_{t-1}); a subclass computes the next h from them.

    Bottoms: x (T, N, ...), T steps of N independent streams; cont (T, N), 0 where a sequence begins, else 1; optionally
    x_static (N, ...), the same in every step; with expose_hidden, the initial states follow, each (1, N, D).
    Tops: the output (T, N, D), D = num_output; with expose_hidden, the states after the last step follow, each
    (1, N, D).
    Blobs: W_x (gates D, I), b (gates D), W_static (gates D, S) if there is a static input, W_h (gates D, D), then those
    of the subclass.
    Reads ``recurrent_param``: num_output, expose_hidden (false), weight_filler, bias_filler, debug_info (false), which
    logs the gates and states of every step.
    Without expose_hidden, the states go on from one Forward to the next (the first starts from 0): a sequence may be
    longer than T, and cont = 0 ends it. A snapshot holds the states; the original starts again from 0. If N shrinks,
    the first N streams keep their states; if it grows, all start from 0 (in the original the new ones may start from
    old ones).
    No gradient passes through states from outside: none to cont or to initial states, none from final ones.
    T may change; the original refuses that.
    Source: the original's recurrent_layer.cpp.
    """

    kind = Kind.PRODUCT
    has_weights = True

    # Names in the original's unrolled net: of the states, of a step's gates, and of the layers that compute them.
    states: ClassVar[tuple[str, ...]]
    gate_blob: ClassVar[str]
    gate_layer: ClassVar[str]
    state_layer: ClassVar[str]
    gates_per_output: ClassVar[int] = 1

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.recurrent_param.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.recurrent_param
        if p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give recurrent_param a num_output of at least 1")
        exposed = self.states if p.expose_hidden else ()
        if len(bottom) - len(exposed) not in (2, 3) or len(top) - len(exposed) != 1:
            first, last = ("".join(f", {name}_{t}" for name in exposed) for t in "0T")
            self.error(
                f"{len(bottom)} bottoms and {len(top)} tops with{'' if exposed else 'out'} expose_hidden",
                f"give it x, cont, a static input if you have one{first}; and as tops the output{last}",
            )
        self.num_output = p.num_output
        self.has_static = len(bottom) - len(exposed) == 3
        self.num_input = prod(bottom[0].shape[2:])
        self.num_static = prod(bottom[2].shape[1:]) if self.has_static else 0
        if not self.num_input or (self.has_static and not self.num_static):
            self.error(
                f"the bottoms {', '.join(str(blob.shape) for blob in bottom)} give nothing to read in a step",
                "only steps and streams may be none: check what makes them",
            )
        rows = self.gates = self.gates_per_output * p.num_output
        shapes = [(rows, self.num_input), (rows,), (rows, self.num_static), (rows, p.num_output)]
        if not self.has_static:
            del shapes[2]
        self.hidden = len(shapes) - 1  # W_h's place in blobs
        for shape in [*shapes, *self.more_shapes()]:
            self.blobs.append(Blob(self.ops, shape))
            fill(self.blobs[-1], p.weight_filler if len(shape) > 1 else p.bias_filler, self.rng)
        self.carried = [] if exposed else [Blob(self.ops, (1, 0, p.num_output)) for _ in self.states]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape is {shape}", "it begins with steps and streams: (T, N, ...)")
        streams = shape[1]
        state = (1, streams, self.num_output)
        self._check_inputs("the bottom", shape[2:], self.num_input)
        self._check_shape("cont", bottom[1].shape, shape[:2])
        if self.has_static:
            self._check_shape("the static input", bottom[2].shape, (streams, *bottom[2].shape[1:]))
            self._check_inputs("the static input", bottom[2].shape[1:], self.num_static)
        for name, blob in zip(self.states, bottom[2 + self.has_static :], strict=False):
            self._check_shape(f"{name}_0", blob.shape, state)
        for blob in self.carried:
            kept = blob.data[:, :streams] if streams < blob.shape[1] else None
            blob.Reshape(state)
            if kept is not None:
                blob.data = kept
        top[0].Reshape((*shape[:2], self.num_output))
        for blob in top[1:]:
            blob.Reshape(state)

    def _check_shape(self, what: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if shape != wanted:
            self.error(f"the shape of {what} is {shape}", f"beside the first bottom it must be {wanted}")

    def _check_inputs(self, what: str, shape: tuple[int, ...], wanted: int) -> None:
        if prod(shape) != wanted:
            self.error(
                f"{what} gives {prod(shape)} inputs at a time, the weights have {wanted}",
                "keep the input size that the net was made with, or make the net anew",
            )

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, (steps, streams) = self.ops, bottom[1].shape
        weights = [blob.data for blob in self.blobs]
        self.saved.x = ops.reshape(bottom[0].data, (steps * streams, self.num_input))
        inputs = ops.reshape(ops.inner_product(self.saved.x, weights[0], weights[1]), (steps, streams, self.gates))
        if self.has_static:
            self.saved.static = ops.reshape(bottom[2].data, (streams, self.num_static))
            inputs = inputs + ops.inner_product(self.saved.static, weights[2], None)
        self.saved.cont = ops.reshape(bottom[1].data, (steps, streams, 1))
        given = self.carried or bottom[2 + self.has_static :]
        states = [ops.reshape(blob.data, (streams, self.num_output)) for blob in given]
        outputs, self.saved.before, self.saved.kept = [], [], []
        for t in range(steps):
            before = self.saved.cont[t] * states[0]
            gates = inputs[t] + ops.inner_product(before, weights[self.hidden], None)
            states, kept = self.step(gates, self.saved.cont[t], states)
            outputs.append(states[0])
            self.saved.before.append(before)
            self.saved.kept.append(kept)
            self._log("Forward", self.gate_layer, "top", self.gate_blob, t, gates)
            for name, state in zip(self.states, states, strict=True):
                self._log("Forward", self.state_layer, "top", name, t, state)
        top[0].data = ops.reshape(self.output(self._rows(outputs, self.num_output)), top[0].shape)
        for blob, state in zip(self.carried or top[1:], states, strict=True):
            blob.data = ops.reshape(state, blob.shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        """Write all steps as a Scan.

        ONNX keeps no values between runs: without expose_hidden, every run starts from states of 0, as the first pass
        of a net does.
        """
        weights = [g.value(blob) for blob in self.blobs]
        inputs = g.Add(g.MatMul(g.flat(bottom[0], 2, bottom[0].ndim), g.Transpose(weights[0], perm=[1, 0])), weights[1])
        if self.has_static:
            static = g.flat(bottom[2], 1, bottom[2].ndim)
            inputs = g.Add(inputs, g.MatMul(static, g.Transpose(weights[2], perm=[1, 0])))
        inputs.shape = (*bottom[1].sizes, self.gates)
        cont = g.reshape(bottom[1], (*bottom[1].sizes, 1))
        states = [g.reshape(state, state.sizes[1:]) for state in bottom[2 + self.has_static :]]
        states = states or [zero_state(g, inputs, self.num_output)] * len(self.states)

        def step(body: OnnxGraph, states: Sequence[Value], inputs: Value, cont: Value) -> Sequence[Value]:
            gates = body.Gemm(body.Mul(cont, states[0]), weights[self.hidden], inputs, transB=1)
            return self.step_onnx(body, gates, cont, states)

        outputs, states = scan(g, step, states, inputs, cont)
        last = [g.reshape(state, wanted.sizes) for state, wanted in zip(states, top[1:], strict=False)]
        return [self.output_onnx(g, outputs), *last]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return beginnings(shape, rng) if index == 1 else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.error(
                "a gradient is asked for cont, and there is none",
                "give the layer one propagate_down for each bottom: false for cont, true for the others",
            )
        ops, (steps, streams) = self.ops, bottom[1].shape
        d_outputs = self.output_backward(ops.reshape(top[0].diff, (steps * streams, self.num_output)))
        d_outputs = ops.reshape(d_outputs, (steps, streams, self.num_output))
        d_states: list[Array | float] = [0.0] * len(self.states)
        rows = []
        for t in reversed(range(steps)):
            d_gates, *others = self.step_backward(self.saved.kept[t], d_outputs[t] + d_states[0], *d_states[1:])
            d_before = ops.inner_product(d_gates, self.blobs[self.hidden].data.T, None)
            d_states = [self.saved.cont[t] * d_before, *others]
            rows.append(d_gates)
            self._log("Backward", self.state_layer, "bottom", self.gate_blob, t, d_gates)
        d_gates = self._rows(rows[::-1], self.gates)
        dx = self.learn(d_gates, self.saved.x, 0, 1, propagate_down[0])
        self.learn(d_gates, self._rows(self.saved.before, self.num_output), self.hidden)
        if dx is not None:
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)
        if self.has_static:
            total = ops.sum(ops.reshape(d_gates, (steps, streams, self.gates)), 0)
            d_static = self.learn(total, self.saved.static, 2, None, propagate_down[2])
            if d_static is not None:
                bottom[2].diff = ops.reshape(d_static, bottom[2].shape)

    def _rows(self, steps: Sequence[Array], width: int) -> Array:
        """Stack the rows of all steps, a row for each stream; there may be no steps."""
        return self.ops.concat(steps, 0) if steps else self.ops.zeros((0, width))

    def learn(self, dy: Array, x: Array, weight: int, bias: int | None = None, need_x: bool = False) -> Array | None:
        """Add the gradients of an inner product to its blobs, and return the gradient of x."""
        wanted = self.param_propagate_down
        dx, *gradients = self.ops.inner_product_backward(
            dy, x, self.blobs[weight].data, (need_x, wanted[weight], bias is not None and wanted[bias])
        )
        for index, gradient in zip((weight, bias), gradients, strict=True):
            if index is not None and gradient is not None:
                self.blobs[index].add_diff(gradient)
        return dx

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each step and stream, but the weights of a static input once for each stream."""
        steps, streams = bottom[1].shape
        sizes = [blob.count for blob in self.blobs if blob.num_axes > 1]
        static = sizes.pop(1) if self.has_static else 0
        return streams * (steps * sum(sizes) + static)

    # -- for subclasses to define ------------------------------------------------------------------------------------

    def more_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the blobs that follow W_h."""
        return []

    def step(self, gates: Array, cont: Array, states: Sequence[Array]) -> tuple[list[Array], tuple[Array, ...]]:
        """Return the next states, h first, and the values that ``step_backward`` needs."""
        raise NotImplementedError

    def step_backward(self, kept: tuple[Array, ...], *d_states: Array | float) -> tuple[Array, ...]:
        """Return the gradients of the gates, and of the previous states except h."""
        raise NotImplementedError

    def goes_on(self, bottom: Sequence[Blob]) -> bool:
        return bool(self.carried) and bool(self.ops.host_view(bottom[1].data)[:1].any())

    def forget(self) -> None:
        for blob in self.carried:
            blob.data = self.ops.zeros(blob.shape)

    def step_onnx(self, g: OnnxGraph, gates: Value, cont: Value, states: Sequence[Value]) -> Sequence[Value]:
        """Write what ``step`` computes: the next states, h first."""
        raise NotImplementedError

    def output(self, h: Array) -> Array:
        """Compute the layer's output from h, with a row for each step and stream."""
        return h

    def output_onnx(self, g: OnnxGraph, h: Value) -> Value:
        """Write the layer's output from h, (T, N, D)."""
        return h

    def output_backward(self, dy: Array) -> Array:
        return dy

    # -- between passes ----------------------------------------------------------------------------------------------

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0 or (self.has_static and bottom_index == 2)

    def _log(self, direction: str, layer: str, end: str, blob: str, t: int, x: Array) -> None:
        if self.param.recurrent_param.debug_info:
            part = "data" if direction == "Forward" else "diff"
            text = f"    [{direction}] Layer {self.name}_{layer}_{t + 1}, {end} blob {blob}_{t + 1} {part}: %g"
            self.ops.inspect(x, lambda values: logger.info(text, abs(values).sum() / max(1, values.size)))
