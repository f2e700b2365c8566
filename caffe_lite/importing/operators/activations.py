"""Operators that change every value by itself: activations and functions of one number."""

from __future__ import annotations

from math import isinf, pi, sqrt

import numpy as np

from ..formulas import at_least, at_most, gate, largest, normal_tail, power, product, total
from ..graph import Node
from ..writer import CannotSay, Writer, spells

_LARGEST = float(np.finfo(np.float32).max)


@spells("Relu", uses=["ReLU"])
def relu(w: Writer, node: Node) -> str:
    return w.add("ReLU", [w.blob(node.inputs[0])])


@spells("LeakyRelu", uses=["ReLU"])
def leaky_relu(w: Writer, node: Node) -> str:
    return w.add("ReLU", [w.blob(node.inputs[0])], relu_param={"negative_slope": node.attributes.get("alpha", 0.01)})


@spells("PRelu", uses=["PReLU"])
def prelu(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    slope = w.require_constant(node, 1, "slope")
    if slope.size == 1:
        return w.add("PReLU", [x], blobs=[slope.reshape(())], prelu_param={"channel_shared": True})
    shape = w.shapes[x]
    padded = (*[1] * (len(shape) - slope.ndim), *slope.shape)
    if len(padded) < 2 or padded[1] != slope.size or padded[1] != shape[1]:
        raise CannotSay(f"its slopes {slope.shape} are not one for each channel of {shape}")
    return w.add("PReLU", [x], blobs=[slope.reshape(-1)])


@spells("Elu", uses=["ELU"])
def elu(w: Writer, node: Node) -> str:
    alpha = node.attributes.get("alpha", 1.0)
    return w.add("ELU", [w.blob(node.inputs[0])], elu_param={} if alpha == 1 else {"alpha": alpha})


@spells("Celu", uses=["ELU", "Power"])
def celu(w: Writer, node: Node) -> str:
    alpha = node.attributes.get("alpha", 1.0)
    return power(w, w.add("ELU", [power(w, w.blob(node.inputs[0]), 1 / alpha)]), alpha)


@spells("Selu", uses=["ELU", "Power"])
def selu(w: Writer, node: Node) -> str:
    alpha = node.attributes.get("alpha", 1.67326319217681884765625)
    gamma = node.attributes.get("gamma", 1.05070102214813232421875)
    return power(w, w.add("ELU", [w.blob(node.inputs[0])], elu_param={"alpha": alpha}), gamma)


@spells("Sigmoid", uses=["Sigmoid"])
@spells("Tanh", uses=["TanH"])
@spells("Abs", uses=["AbsVal"])
@spells("Softplus", uses=["BNLL"])
@spells("Exp", uses=["Exp"])
@spells("Log", uses=["Log"])
def plain(w: Writer, node: Node) -> str:
    types = {"Tanh": "TanH", "Abs": "AbsVal", "Softplus": "BNLL"}
    return w.add(types.get(node.operator, node.operator), [w.blob(node.inputs[0])])


@spells("Neg", "Sqrt", "Reciprocal", uses=["Power"])
def powers(w: Writer, node: Node) -> str:
    scale = -1 if node.operator == "Neg" else 1
    exponent = {"Neg": 1, "Sqrt": 0.5, "Reciprocal": -1}[node.operator]
    return power(w, w.blob(node.inputs[0]), scale, power=exponent)


@spells("Clip", uses=["ReLU6"])
def relu6(w: Writer, node: Node) -> str:
    if _bounds(w, node) != (0, 6):
        raise CannotSay("its bounds are not 0 and 6")
    return w.add("ReLU6", [w.blob(node.inputs[0])])


@spells("Clip", uses=["Clip"])
def clip(w: Writer, node: Node) -> str:
    low, high = _bounds(w, node)
    if isinf(low) or isinf(high):
        raise CannotSay("it lacks a bound")
    return w.add("Clip", [w.blob(node.inputs[0])], clip_param={"min": low, "max": high})


@spells("Clip", uses=["ReLU", "Power"])
def clip_of_relus(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    low, high = _bounds(w, node)
    if not isinf(low):
        x = at_least(w, x, low)
    return x if isinf(high) else at_most(w, x, high)


def _bounds(w: Writer, node: Node) -> tuple[float, float]:
    """Return the smallest and the largest value that are let through, infinite where there is no bound."""
    found = []
    for index, (name, none) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
        if node.input(index):
            value = float(w.require_constant(node, index, f"{name}imum").reshape(()))
        else:
            value = float(node.attributes.get(name, none))
        found.append(none if abs(value) >= _LARGEST else value)
    return found[0], found[1]


@spells("HardSigmoid", uses=["HardSigmoid"])
def hard_sigmoid(w: Writer, node: Node) -> str:
    alpha, beta = _line(node)
    return w.add("HardSigmoid", [w.blob(node.inputs[0])], hard_sigmoid_param={"alpha": alpha, "beta": beta})


@spells("HardSigmoid", uses=["ReLU", "Power"])
def hard_sigmoid_of_relus(w: Writer, node: Node) -> str:
    return gate(w, w.blob(node.inputs[0]), *_line(node))


def _line(node: Node) -> tuple[float, float]:
    return node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)


@spells("HardSwish", uses=["HardSwish"])
@spells("Mish", uses=["Mish"])
def of_its_own(w: Writer, node: Node) -> str:
    return w.add(node.operator, [w.blob(node.inputs[0])])


@spells("HardSwish", uses=["ReLU", "Power", "Eltwise"])
def hard_swish_of_relus(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return product(w, x, gate(w, x, 1 / 6, 0.5))


@spells("Mish", uses=["BNLL", "TanH", "Eltwise"])
def mish_of_bnll(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return product(w, x, w.add("TanH", [w.add("BNLL", [x])]))


@spells("Swish", uses=["Swish"])
def swish(w: Writer, node: Node) -> str:
    beta = node.attributes.get("alpha", 1.0)
    return w.add("Swish", [w.blob(node.inputs[0])], swish_param={} if beta == 1 else {"beta": beta})


@spells("Swish", uses=["Sigmoid", "Power", "Eltwise"])
def swish_of_sigmoid(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    beta = node.attributes.get("alpha", 1.0)
    return product(w, x, w.add("Sigmoid", [x if beta == 1 else power(w, x, beta)]))


@spells("Gelu", uses=["AbsVal", "Eltwise", "Exp", "Power", "ReLU"])
def gelu(w: Writer, node: Node) -> str:
    """Write x Phi(x) as max(x, 0) - |x| (1 - Phi(|x|)), with Phi the normal distribution."""
    if node.attributes.get("approximate", "none") != "none":
        raise CannotSay("it is the approximation by tanh")
    x = w.blob(node.inputs[0])
    size = w.add("AbsVal", [x])
    return total(w, [w.add("ReLU", [x]), product(w, size, normal_tail(w, size))], [1, -1])


@spells("Gelu", uses=["Eltwise", "Power", "Sigmoid"])
def gelu_of_tanh(w: Writer, node: Node) -> str:
    """Write x (1 + tanh(u)) / 2 as x / (1 + e^(-2 u)), with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    if node.attributes.get("approximate", "none") != "tanh":
        raise CannotSay("it is not the approximation by tanh")
    x = w.blob(node.inputs[0])
    slope = 2 * sqrt(2 / pi)
    growing = power(w, power(w, x, power=2), 0.044715 * slope, slope)
    return product(w, x, w.add("Sigmoid", [product(w, x, growing)]))


@spells("Erf", uses=["AbsVal", "Eltwise", "Exp", "Power", "Threshold"])
def erf(w: Writer, node: Node) -> str:
    """Write erf(x) as sign(x) (1 - 2 (1 - Phi(sqrt(2) |x|))), with Phi the normal distribution."""
    x = w.blob(node.inputs[0])
    size = power(w, w.add("AbsVal", [x]), sqrt(2))
    sign = power(w, w.add("Threshold", [x]), 2, -1)
    return product(w, sign, power(w, normal_tail(w, size), -2, 1))


@spells("Sign", uses=["Eltwise", "Power", "Threshold"])
def sign(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return total(w, [w.add("Threshold", [x]), w.add("Threshold", [power(w, x, -1)])], [1, -1])


@spells("Softsign", uses=["AbsVal", "Eltwise", "Power"])
def softsign(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return product(w, x, power(w, w.add("AbsVal", [x]), shift=1, power=-1))


@spells("ThresholdedRelu", uses=["Eltwise", "Threshold"])
def thresholded_relu(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    alpha = node.attributes.get("alpha", 1.0)
    return product(w, x, w.add("Threshold", [x], threshold_param={"threshold": alpha}))


@spells("Identity", "Dropout", uses=[])
def nothing(w: Writer, node: Node) -> str:
    return w.blob(node.inputs[0])


@spells("Cast", uses=[])
def cast(w: Writer, node: Node) -> str:
    from onnx import TensorProto

    floating = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    whole = (TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.INT32)
    old = w.graph.types.get(node.inputs[0], 0)
    if node.attributes["to"] not in floating and old not in (*whole, TensorProto.INT64, TensorProto.BOOL):
        raise CannotSay("it rounds to whole numbers")
    return w.blob(node.inputs[0])


@spells("Max", uses=["Eltwise", "ReLU", "Power", "Tile", "Reshape", "Flatten"])
@spells("Min", uses=["Eltwise", "ReLU", "Power", "Tile", "Reshape", "Flatten"])
def extreme(w: Writer, node: Node) -> str:
    """Write min(a, b) as -max(-a, -b), and a constant number as a bound."""
    from .arithmetic import met

    bound = at_least if node.operator == "Max" else at_most
    numbers = [w.constant(name) for name in node.inputs]
    bounds = [float(array.reshape(())) for array in numbers if array is not None and array.size == 1]
    blobs = [name for name, array in zip(node.inputs, numbers, strict=True) if array is None or array.size > 1]
    shape = w.shape(node.outputs[0])
    met_ = [met(w, w.blob(name), shape) for name in blobs]
    if len(met_) > 1:
        if node.operator == "Max":
            met_ = [largest(w, met_)]
        else:
            met_ = [power(w, largest(w, [power(w, blob, -1) for blob in met_]), -1)]
    x = met_[0]
    for value in bounds:
        x = bound(w, x, value)
    return x
