"""Arithmetic, comparisons and types."""

from __future__ import annotations

from collections.abc import Sequence

from ...onnx_graph import BOOL, DOUBLE, FLOAT, INT32, INT64
from ..torch_code import Code, call, infix, method, power
from ..torch_scope import Operation
from .table import translates

_INFIX = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Equal": "==",
    "Greater": ">",
    "GreaterOrEqual": ">=",
    "Less": "<",
    "LessOrEqual": "<=",
    "And": "&",
    "Or": "|",
    "Xor": "!=",
}


@translates(*_INFIX)
def _infix(op: Operation) -> Code:
    if op.node.op == "Div" and op.kind(0) == "i":
        return call("torch.div", op.tensor(0), op.number(1), rounding_mode="trunc")
    return infix(op.number(0), _INFIX[op.node.op], op.number(1))


@translates("Mod")
def _mod(op: Operation) -> Code:
    if op.attribute("fmod"):
        return call("torch.fmod", op[0], op.number(1))
    return infix(op.number(0), "%", op.number(1))


@translates("Pow")
def _pow(op: Operation) -> Code:
    exponent = op.number(1)
    if exponent == "2.0":
        exponent = Code("2")
    return method(op[0], "sqrt") if exponent == "0.5" else power(op.number(0), exponent)


@translates("Max", "Min", "Sum", "Mean")
def _of_several(op: Operation) -> Code:
    if op.node.op in ("Sum", "Mean"):
        total = op[0]
        for index in range(1, len(op)):
            total = infix(total, "+", op.number(index))
        return total if op.node.op == "Sum" else infix(total, "/", len(op))
    bound, function = ("min", "torch.maximum") if op.node.op == "Max" else ("max", "torch.minimum")
    chosen = op[0] if op.constant(0) is None else op.tensor(0)
    for index in range(1, len(op)):
        number = op.number(index)
        scalar = op.constant(index) is not None and not number.startswith("self.")
        chosen = method(chosen, "clamp", **{bound: number}) if scalar else call(function, chosen, op[index])
    return chosen


@translates("Where")
def _where(op: Operation) -> Code:
    return call("torch.where", op[0], op.number(1), op.number(2))


_CASTS = {
    FLOAT: ("f", "float"),
    DOUBLE: ("d", "double"),
    BOOL: ("b", "bool"),
    INT32: ("i", "int"),
    INT64: ("i", "long"),
}


@translates("Cast")
def _cast(op: Operation) -> Code | Sequence[Code]:
    if op.attribute("to") not in _CASTS:
        op.refuse(f"type {op.attribute('to')} is not one that layers use")
    wanted, function = _CASTS[op.attribute("to")]
    return op[0] if op.kind(0) == wanted != "i" else method(op.tensor(0), function)


@translates("CumSum")
def _cumsum(op: Operation) -> Code:
    axis = int(op.numbers(1))
    x = op[0]
    if op.attribute("reverse"):
        return method(method(method(x, "flip", axis), "cumsum", axis), "flip", axis)
    if op.attribute("exclusive"):
        x = op.variable(0)
        return infix(method(x, "cumsum", axis), "-", x)
    return method(x, "cumsum", axis)
