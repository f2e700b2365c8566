"""Loops over the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...onnx_graph import Value
from ..torch_code import Code, call, method, subscript
from ..torch_scope import Operation
from .table import translates, write


@translates("LSTM")
def _lstm(op: Operation) -> Code | Sequence[Code]:
    size = op.attribute("hidden_size")
    usual = {"hidden_size", "direction"} >= op.node.attributes.keys() and all(op.value(i) is None for i in range(4, 8))
    if not usual or op.attribute("direction", "forward") != "forward" or op.is_read(1) or op.is_read(2):
        op.refuse("it is not the usual one")
    of_x, of_h, bias = (_of_gates(op.numbers(index)[0], size) for index in (1, 2, 3))
    state = {"weight_ih_l0": of_x, "weight_hh_l0": of_h, "bias_ih_l0": bias[: 4 * size], "bias_hh_l0": bias[4 * size :]}
    values: dict[str, Value | None] = {
        name: Value(f"{op.node.layer}.{name}", array.shape, array) for name, array in state.items()
    }
    module = op.module("LSTM", of_x.shape[1], size, state=values)
    y = subscript(call(str(module), op[0]), "0")
    shape, unused = op.shape(0), [Code("None")] * (len(op.node.outputs) - 1)
    if shape is None:
        return [method(y, "unsqueeze", 1), *unused]
    # Without the axis of the directions, which what follows takes away.
    op.scope.shapes[id(op.node.outputs[0])] = (*shape[:2], size)
    return [y, *unused]


def _of_gates(rows: np.ndarray, size: int) -> np.ndarray:
    """Return rows for ONNX's gates (i, o, f, g), perhaps several such blocks, in PyTorch's order (i, f, g, o)."""
    blocks = rows.reshape(-1, 4, size, *rows.shape[1:])[:, [0, 2, 3, 1]]
    return np.ascontiguousarray(blocks).reshape(rows.shape)


@translates("Scan")
def _scan(op: Operation) -> Sequence[Code]:
    body, sequences = op.attribute("body"), op.attribute("num_scan_inputs")
    scope, count = op.scope, len(op) - sequences
    states = [scope.names.new("state", "x") for _ in range(count)]
    for index, name in enumerate(states):
        scope.say(f"{name} = {op[index]}")
    lists = [scope.names.new("outputs", "x") for _ in body.outputs[count:]]
    for name in lists:
        scope.say(f"{name} = []")
    for value, name in zip(body.inputs[:count], states, strict=True):
        scope.bind(value, Code(name))
    steps = [scope.argument(value, "step") for value in body.inputs[count:]]
    given = [op.tensor(count + index) for index in range(sequences)]
    over = given[0] if sequences == 1 else call("zip", *given)
    with scope.indented(f"for {', '.join(steps)} in {over}:"):
        write(body.nodes, scope)
        for name, value in zip(lists, body.outputs[count:], strict=True):
            scope.say(f"{name}.append({scope.code(value)})")
        scope.say(f"{', '.join(states)} = {', '.join(scope.code(value) for value in body.outputs[:count])}")
    steps_known = op.shape(count)
    if steps_known is not None and steps_known[0] == 0:
        first = op.variable(0)
        return [*map(Code, states), *(method(first, "new_zeros", 0, Code(f"*{first}.shape")) for _ in lists)]
    return [*map(Code, states), *(call("torch.stack", Code(name)) for name in lists)]
