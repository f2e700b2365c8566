"""Idioms: several nodes that compute what one operator does become that one."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from .graph import Graph, Node

# A pattern is the name of a tensor (the same wherever it stands), a number (a constant of that value), or an operator,
# perhaps with attributes that are numbers, and the patterns of its inputs.
Pattern = str | float | tuple[Any, ...]
X = "x"
_COMMUTES = ("Add", "Mul")
_USUAL = {"alpha": 0.2, "beta": 0.5}  # HardSigmoid's attributes if they are not given
_GATE = ("Clip", ("Add", X, 3.0), 0.0, 6.0)
_NORMAL = ("Add", ("Erf", ("Div", X, sqrt(2))), 1.0)
_NORMAL_TOO = ("Add", ("Erf", ("Mul", X, sqrt(0.5))), 1.0)
_CURVE = ("Add", ("Tanh", ("Mul", ("Add", X, ("Mul", ("Pow", X, 3.0), 0.044715)), sqrt(2 / pi))), 1.0)
IDIOMS: list[tuple[str, dict[str, Any], Pattern]] = [
    ("HardSwish", {}, ("Mul", X, ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, X))),
    ("HardSwish", {}, ("Mul", X, ("Div", _GATE, 6.0))),
    ("HardSwish", {}, ("Mul", X, ("Mul", _GATE, 1 / 6))),
    ("HardSwish", {}, ("Div", ("Mul", X, _GATE), 6.0)),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, ("Div", _GATE, 6.0)),
    ("Swish", {}, ("Mul", X, ("Sigmoid", X))),
    ("Mish", {}, ("Mul", X, ("Tanh", ("Softplus", X)))),
    *(
        ("Gelu", {"approximate": approximate}, pattern)
        for approximate, curves in (("none", (_NORMAL, _NORMAL_TOO)), ("tanh", (_CURVE,)))
        for curve in curves
        for pattern in (
            ("Mul", ("Mul", X, curve), 0.5),
            ("Mul", ("Mul", X, 0.5), curve),
            ("Mul", X, ("Mul", curve, 0.5)),
        )
    ),
]


def recognise(graph: Graph) -> None:
    """Replace every idiom by one node. Nodes inside that others read stay, too."""
    for place, node in reversed(list(enumerate(graph.nodes))):  # an idiom before those inside it
        replacement = _one_operator(graph, node) or _channel_shuffle(graph, node)
        if replacement is not None:
            graph.nodes[place] = replacement
            graph.index()
    graph.drop_unread()


def _one_operator(graph: Graph, node: Node) -> Node | None:
    for operator, attributes, pattern in IDIOMS:
        found: dict[str, str] = {}
        if _matches(graph, node.outputs[0], pattern, found):
            return Node(node.name, operator, [found[X]], node.outputs, attributes)
    return None


def _matches(graph: Graph, tensor: str, pattern: Pattern, found: dict[str, str]) -> bool:
    """Return whether what makes a tensor is as the pattern says; note the tensors that it names."""
    if isinstance(pattern, str):
        return found.setdefault(pattern, tensor) == tensor
    if isinstance(pattern, float):
        array = graph.constants.get(tensor)
        return array is not None and array.size == 1 and bool(np.isclose(array.reshape(()), pattern, rtol=1e-4))
    operator, *inputs = pattern
    attributes = inputs.pop(0) if isinstance(inputs[0], dict) else {}
    node = graph.makers.get(tensor)
    if node is None or node.operator != operator or node.domain or len(node.inputs) != len(inputs):
        return False
    own = _USUAL | node.attributes
    if any(not np.isclose(own[name], value, rtol=1e-4) for name, value in attributes.items()):
        return False
    orders = [node.inputs, node.inputs[::-1]] if operator in _COMMUTES else [node.inputs]
    for order in orders:
        attempt = dict(found)
        if all(_matches(graph, one, part, attempt) for one, part in zip(order, inputs, strict=True)):
            found.update(attempt)
            return True
    return False


def _channel_shuffle(graph: Graph, node: Node) -> Node | None:
    """Recognise (N, C, ...) to (N, group, C / group, ...), these two axes exchanged, and back."""
    if node.operator != "Reshape":
        return None
    transposed = graph.makers.get(node.inputs[0])
    if transposed is None or transposed.operator != "Transpose":
        return None
    opened = graph.makers.get(transposed.inputs[0])
    if opened is None or opened.operator != "Reshape":
        return None
    x = opened.inputs[0]
    old, inner, new = (graph.shapes[name] for name in (x, opened.outputs[0], node.outputs[0]))
    order = list(transposed.attributes.get("perm", ()))
    if old != new or len(inner) < 3 or order != [0, 2, 1, *range(3, len(inner))]:
        return None
    if inner != (old[0], inner[1], old[1] // inner[1], *old[2:]):
        return None
    return Node(node.name, "ChannelShuffle", [x], node.outputs, {"group": inner[1]})
