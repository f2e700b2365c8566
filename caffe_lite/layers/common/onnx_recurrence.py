"""Recurrence in ONNX: the steps of sequences as a Scan, or as an LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...onnx_graph import OnnxGraph, Value

# Writes a step: takes a graph, the states before and the step's elements of the sequences; returns the states after.
Step = Callable[..., Sequence[Value]]


def scan(g: OnnxGraph, step: Step, states: Sequence[Value], *sequences: Value) -> tuple[Value, list[Value]]:
    """Write a loop over sequences (T, N, ...), from states (N, D).

    Returns the first state after each step, (T, N, D), and all states after the last one.
    """
    body = g.body()
    before = [body.input(f"{g.layer}/state", state.sizes) for state in states]
    elements = [body.input(f"{g.layer}/step", sequence.sizes[1:]) for sequence in sequences]
    after = list(step(body, before, *elements))
    body.outputs += [*after, body.Identity(after[0])]
    *last, outputs = g.Scan(*states, *sequences, body=body, num_scan_inputs=len(sequences), outputs=len(states) + 1)
    outputs.shape = (sequences[0].sizes[0], *states[0].sizes)
    return outputs, [g.like(state, value) for state, value in zip(states, last, strict=True)]


def zero_state(g: OnnxGraph, sequence: Value, size: int) -> Value:
    """Return zeros, (N, size), for the streams of a sequence (T, N, ...), and note that every run starts from them."""
    g.notes.append(f"{g.layer} keeps no states from one run to the next: each starts from 0")
    streams = sequence.sizes[1]
    if streams is not None:
        return g.constant(np.zeros((streams, size)), "state")
    count = g.Gather(g.Shape(sequence), [1], axis=0)
    zeros: Value = g.Expand(0.0, g.Concat(count, [size], axis=0))
    zeros.shape = (streams, size)
    return zeros


def begin_together(cont: Value) -> bool:
    """Return whether cont (T, N) is known to say that all sequences begin with the first step, and no others do."""
    return cont.array is not None and not cont.array[:1].any() and bool((cont.array[1:] == 1).all())


def lstm(g: OnnxGraph, x: Value, of_x: np.ndarray, of_h: np.ndarray, bias: np.ndarray) -> Value:
    """Write the outputs (T, N, H) of Caffe's LSTM for x (T, N, I), where all sequences begin with the first step.

    The weights have rows for the gates (i, f, o, g): (4 H, I), (4 H, H), (4 H).
    """
    size = of_h.shape[1]
    biases = np.concatenate([_ordered(bias), np.zeros_like(bias)])
    weights = (values[None] for values in (_ordered(of_x), _ordered(of_h), biases))
    y, _, _ = g.LSTM(x, *weights, hidden_size=size, outputs=3)
    outputs: Value = g.reshape(y, (*x.sizes[:2], size))
    return outputs


def _ordered(values: np.ndarray) -> np.ndarray:
    """Return rows for the gates (i, f, o, g) in ONNX's order, (i, o, f, g)."""
    i, f, o, new = np.split(values, 4)
    return np.concatenate([i, o, f, new])


def beginnings(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return 0 where a sequence begins, else 1, (T, N), for sequences that all begin with the first step."""
    cont = (rng.random(shape) < 0.8).astype(np.float32)
    cont[:1] = 0
    return cont
