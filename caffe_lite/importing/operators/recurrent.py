"""LSTM: ONNX's in one or both directions, as Caffe's with an input that says where sequences begin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..formulas import joined, reshaped, silence, taken
from ..graph import Node
from ..writer import CannotSay, Writer, spells


@spells("LSTM", uses=["LSTM", "Parameter", "Concat", "Slice", "Silence", "Reshape", "Flatten"])
def lstm(w: Writer, node: Node) -> Sequence[str]:
    """Put the gates i, o, f, c into Caffe's order i, f, o, g, and add the two biases."""
    _require_the_usual(w, node)
    x = w.blob(node.inputs[0])
    steps, n, _ = w.shapes[x]
    weights, recurrent = (w.require_constant(node, i, "weights") for i in (1, 2))
    biases = (
        w.require_constant(node, 3, "biases") if node.input(3) else np.zeros((len(weights), 8 * recurrent.shape[2]))
    )
    size = recurrent.shape[2]
    outputs: list[list[str]] = [[], [], []]
    for index in range(len(weights)):
        backward = node.attributes.get("direction", "forward") == "reverse" or index == 1
        order = range(steps)[::-1] if backward else range(steps)
        arrays = [_reordered(array, size) for array in (weights[index], *np.split(biases[index], 2), recurrent[index])]
        blobs = [arrays[0], arrays[1] + arrays[2], arrays[3]]
        hidden, *last = _direction(w, node, taken(w, x, 0, order), blobs, index)
        if node.outputs[0]:
            outputs[0].append(reshaped(w, taken(w, hidden, 0, order), (steps, 1, n, size)))
        for tops, top in zip(outputs[1:], last, strict=False):
            tops.append(top)
    made = [joined(w, tops, axis) if tops else "" for tops, axis in zip(outputs, (1, 0, 0), strict=True)]
    return made[: len(node.outputs)]


def _require_the_usual(w: Writer, node: Node) -> None:
    usual = ["Sigmoid", "Tanh", "Tanh"]
    activations = [
        text.decode() if isinstance(text, bytes) else text for text in node.attributes.get("activations", usual)
    ]
    if activations[:3] != usual or activations[3:] not in ([], usual):
        raise CannotSay(f"its activations are {', '.join(activations)}")
    for name in ("clip", "input_forget", "layout"):
        if node.attributes.get(name, 0):
            raise CannotSay(f"it has {name}")
    lengths = w.constant(node.input(4))
    if node.input(4) and (lengths is None or (lengths != w.shape(node.inputs[0])[0]).any()):
        raise CannotSay("its sequences have different lengths")
    peepholes = w.constant(node.input(7))
    if node.input(7) and (peepholes is None or peepholes.any()):
        raise CannotSay("it has peepholes")


def _reordered(array: np.ndarray, size: int) -> np.ndarray:
    """Return the rows of four gates in Caffe's order."""
    i, o, f, c = (array[index * size : (index + 1) * size] for index in range(4))
    return np.concatenate([i, f, o, c])


def _direction(w: Writer, node: Node, x: str, blobs: Sequence[np.ndarray], index: int) -> list[str]:
    """Write one direction; return all outputs and, as far as they are asked for, the last ones and the last cells."""
    steps, n, _ = w.shapes[x]
    size = blobs[2].shape[1]
    initial = []
    for tensor in (node.input(5), node.input(6)):
        array = w.constant(tensor)
        if tensor and (array is None or array.any()):
            whole = w.blob(tensor)
            initial.append(taken(w, whole, 0, [index]))
        else:
            initial.append("")
    begins = not any(initial)
    cont = np.ones((steps, n))
    cont[:1] = not begins
    bottoms = [x, _parameter(w, cont, "cont")]
    param = {"num_output": size}
    if begins and not any(node.outputs[2:]):
        hidden = w.add("LSTM", bottoms, (steps, n, size), blobs, recurrent_param=param)
        return [hidden, taken(w, hidden, 0, [steps - 1])] if any(node.outputs[1:]) else [hidden]
    bottoms += [state or _parameter(w, np.zeros((1, n, size)), "start") for state in initial]
    shapes = [(steps, n, size), (1, n, size), (1, n, size)]
    tops = w.add_tops("LSTM", bottoms, shapes, blobs, recurrent_param=param | {"expose_hidden": True})
    wanted = [node.outputs[0], *node.outputs[1:], "", ""][:3]
    silence(w, [top for top, name in zip(tops, wanted, strict=True) if not name])
    return tops


def _parameter(w: Writer, values: np.ndarray, suffix: str) -> str:
    param = {"shape": {"dim": list(values.shape)}}
    return w.add("Parameter", [], values.shape, [values], suffix=suffix, parameter_param=param)
