"""Functions of single elements."""

from __future__ import annotations

import numpy as np

from ..torch_code import Code, call, infix, method, sign
from ..torch_scope import Operation
from .table import known, translates, unless

_FUNCTIONS = {
    "Relu": "F.relu",
    "Sigmoid": "torch.sigmoid",
    "Tanh": "torch.tanh",
    "Softplus": "F.softplus",
    "Softsign": "F.softsign",
    "HardSwish": "F.hardswish",
}
_METHODS = {
    "Abs": "abs",
    "Acos": "acos",
    "Asin": "asin",
    "Atan": "atan",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsInf": "isinf",
    "IsNaN": "isnan",
    "Log": "log",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
    "Tan": "tan",
}


@translates(*_FUNCTIONS)
def _function(op: Operation) -> Code:
    return call(_FUNCTIONS[op.node.op], op.tensor(0))


@translates(*_METHODS)
def _method(op: Operation) -> Code:
    return method(op.tensor(0), _METHODS[op.node.op])


@translates("Neg")
def _neg(op: Operation) -> Code:
    return sign("-", op[0])


@translates("Not")
def _not(op: Operation) -> Code:
    return sign("~", op[0])


@translates("LeakyRelu")
def _leaky_relu(op: Operation) -> Code:
    return call("F.leaky_relu", op[0], op.attribute("alpha", 0.01))


@translates("PRelu")
def _prelu(op: Operation) -> Code:
    slope = op.given(1)
    if op.attribute("channels"):
        module = op.module("PReLU", *([] if slope.sizes == (1,) else known(op, 1)), state={"weight": slope})
        return call(module, op[0]) if module else call("F.prelu", op[0], op[1])
    x = op.variable(0)
    return call("torch.where", infix(x, ">", Code("0")), x, infix(x, "*", op.number(1)))


@translates("Elu")
def _elu(op: Operation) -> Code:
    return call("F.elu", op[0], alpha=unless(op.attribute("alpha", 1.0), 1.0))


@translates("Celu")
def _celu(op: Operation) -> Code:
    return call("F.celu", op[0], alpha=unless(op.attribute("alpha", 1.0), 1.0))


@translates("Selu")
def _selu(op: Operation) -> Code:
    alpha = op.attribute("alpha", 1.67326319217681884765625)
    gamma = op.attribute("gamma", 1.05070102214813232421875)
    if np.isclose(alpha, 1.6732632, rtol=1e-7) and np.isclose(gamma, 1.0507010, rtol=1e-7):
        return call("F.selu", op[0])
    return infix(gamma, "*", call("F.elu", op[0], alpha=alpha))


@translates("Gelu")
def _gelu(op: Operation) -> Code:
    return call("F.gelu", op[0], approximate=unless(op.attribute("approximate", "none"), "none"))


@translates("HardSigmoid")
def _hard_sigmoid(op: Operation) -> Code:
    slope, shift = op.attribute("alpha", 0.2), op.attribute("beta", 0.5)
    if np.float32(slope) == np.float32(1 / 6) and shift == 0.5:
        return call("F.hardsigmoid", op[0])
    return method(infix(infix(op[0], "*", slope), "+", shift), "clamp", 0, 1)


@translates("ThresholdedRelu")
def _thresholded(op: Operation) -> Code:
    return call("F.threshold", op[0], op.attribute("alpha", 1.0), 0.0)


@translates("Clip")
def _clip(op: Operation) -> Code:
    bounds = [None if op.value(i) is None else op.number(i) for i in (1, 2)]
    if bounds == ["0.0", "6.0"]:
        return call("F.relu6", op[0])
    return method(op[0], "clamp", min=bounds[0], max=bounds[1])


@translates("Softmax", "LogSoftmax")
def _softmax(op: Operation) -> Code:
    name = "F.softmax" if op.node.op == "Softmax" else "F.log_softmax"
    return call(name, op[0], dim=op.attribute("axis", -1))


@translates("Identity")
def _identity(op: Operation) -> Code:
    return op.tensor(0)
