"""Operators that make one number of many: sums, means and maxima along axes, and softmax."""

from __future__ import annotations

from math import prod

import numpy as np

from ..formulas import mapped, power, reshaped, scaled
from ..graph import Node
from ..writer import CannotSay, Writer, spells
from .pooling import pooled_whole

_OPERATIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceL1": "ASUM", "ReduceSumSquare": "SUMSQ"}


def _axes(w: Writer, node: Node) -> list[int]:
    """Return the axes that are reduced, in their order."""
    rank = len(w.shape(node.inputs[0]))
    given = w.graph.setting(node, "axes", 1)
    if given is None and node.input(1):
        raise CannotSay("its axes are computed")
    if given is None or not np.size(given):
        if node.attributes.get("noop_with_empty_axes", 0):
            raise CannotSay("it reduces no axes")
        return list(range(rank))
    return sorted(int(axis) % rank for axis in np.reshape(given, -1))


def _span(w: Writer, node: Node) -> tuple[int, int]:
    """Return the first and the last axis (exclusive) that are reduced."""
    axes = _axes(w, node)
    shape = w.shape(node.inputs[0])
    first, end = axes[0], axes[-1] + 1
    if any(shape[axis] != 1 for axis in range(first, end) if axis not in axes):
        raise CannotSay(f"it reduces the axes {axes}, which do not follow one another")
    return first, end


@spells("ReduceMean", "ReduceMax", uses=["Pooling", "Reshape", "Flatten"])
def over_images(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    if len(w.shapes[x]) < 3 or _span(w, node) != (2, len(w.shapes[x])):
        raise CannotSay("it does not reduce images")
    made = pooled_whole(w, x, "AVE" if node.operator == "ReduceMean" else "MAX")
    return reshaped(w, made, w.shape(node.outputs[0]))


@spells(*_OPERATIONS, "ReduceL2", uses=["Reduction", "Power", "Reshape", "Flatten"])
def over_the_last_axes(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    first, end = _span(w, node)
    old = w.shapes[x]
    if prod(old[end:]) != 1:
        raise CannotSay("it does not reduce the last axes")
    param = {"operation": _OPERATIONS.get(node.operator, "SUMSQ"), "axis": first}
    made = w.add("Reduction", [x], old[:first], reduction_param=param)
    if node.operator == "ReduceL2":
        made = power(w, made, power=0.5)
    return reshaped(w, made, w.shape(node.outputs[0]))


@spells(*_OPERATIONS, "ReduceL2", uses=["Convolution", "AbsVal", "Power", "Reshape", "Flatten"])
def over_channels(w: Writer, node: Node) -> str:
    """Add channels up by a convolution whose filters are 1."""
    x = w.blob(node.inputs[0])
    first, end = _span(w, node)
    if node.operator == "ReduceL1":
        x = w.add("AbsVal", [x])
    elif node.operator in ("ReduceL2", "ReduceSumSquare"):
        x = power(w, x, power=2)
    old = w.shapes[x]
    size = prod(old[first:end])
    flat = reshaped(w, x, (prod(old[:first]), size, prod(old[end:])))
    weight = 1 / size if node.operator == "ReduceMean" else 1.0
    made = mapped(w, flat, 1, np.full((1, size), weight))
    if node.operator == "ReduceL2":
        made = power(w, made, power=0.5)
    return reshaped(w, made, w.shape(node.outputs[0]))


@spells("ReduceMax", "ReduceMin", uses=["Pooling", "Power", "Reshape", "Flatten"])
def extreme_of_axes(w: Writer, node: Node) -> str:
    """Pool over windows as high as the axes that are reduced, and one pixel wide. min(x) = -max(-x)."""
    x = w.blob(node.inputs[0])
    first, end = _span(w, node)
    if node.operator == "ReduceMin":
        x = power(w, x, -1)
    old = w.shapes[x]
    size, rest = prod(old[first:end]), prod(old[end:])
    flat = reshaped(w, x, (prod(old[:first]), 1, size, rest))
    made = w.add("Pooling", [flat], (prod(old[:first]), 1, 1, rest), pooling_param={"kernel_h": size, "kernel_w": 1})
    if node.operator == "ReduceMin":
        made = power(w, made, -1)
    return reshaped(w, made, w.shape(node.outputs[0]))


@spells("Softmax", uses=["Softmax", "Reshape", "Flatten"])
def softmax(w: Writer, node: Node) -> str:
    x, axis, end = _softened(w, node)
    old = w.shapes[x]
    flat = reshaped(w, x, (*old[:axis], prod(old[axis:end]), *old[end:]))
    made = w.add("Softmax", [flat], softmax_param={"axis": axis} if axis != 1 else {})
    return reshaped(w, made, old)


def _softened(w: Writer, node: Node) -> tuple[str, int, int]:
    """Return the blob and the axes, first and last (exclusive), over which it is normalised."""
    x = w.blob(node.inputs[0])
    rank = len(w.shapes[x])
    old = w.graph.opset < 13  # then all axes from the one that is given on count as one
    axis = node.attributes.get("axis", 1 if old else -1) % rank
    return x, axis, rank if old else axis + 1


@spells("LogSoftmax", uses=["Pooling", "Power", "Bias", "Exp", "Log", "Reduction", "Reshape", "Flatten"])
def log_softmax(w: Writer, node: Node) -> str:
    """Write x - max - log(sum(e^(x - max))). The logarithm of a softmax would be infinite where that is 0."""
    x, axis, end = _softened(w, node)
    old = w.shapes[x]
    if prod(old[end:]) != 1:
        raise CannotSay(f"axis {axis} of {old} is not its last one")
    rows, size = prod(old[:axis]), prod(old[axis:end])
    flat = reshaped(w, x, (rows, 1, 1, size))
    most = reshaped(w, pooled_whole(w, flat, "MAX"), (rows,))
    below = scaled(w, flat, None, power(w, most, -1), 0)
    whole = w.add("Reduction", [w.add("Exp", [below])], (rows,), reduction_param={"axis": 1})
    made = scaled(w, below, None, power(w, w.add("Log", [whole]), -1), 0)
    return reshaped(w, made, old)
