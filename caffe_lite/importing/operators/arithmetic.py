"""Operators on two tensors or more, element by element, which may spread a smaller one over a larger one."""

from __future__ import annotations

import numpy as np

from ..formulas import power, product, repeated, reshaped, scaled, spanned, total
from ..graph import Node, Shape
from ..writer import CannotSay, Writer, spells

_ARITHMETIC = ("Eltwise", "Power", "Scale", "Bias", "Tile", "Reshape", "Flatten")


def met(w: Writer, x: str, shape: Shape) -> str:
    """Write a blob in a shape that it may have to be spread over."""
    old = w.shapes[x]
    return repeated(w, reshaped(w, x, (*[1] * (len(shape) - len(old)), *old)), shape)


def _row(array: np.ndarray, shape: Shape) -> tuple[int, np.ndarray] | None:
    """Return a constant as what Scale and Bias learn: the first axis that it spans, and its values without other axes.

    None if it does not fit: where the shape itself would have to grow.
    """
    padded = array.reshape(*[1] * (len(shape) - array.ndim), *array.shape)
    if any(size not in (1, whole) for size, whole in zip(padded.shape, shape, strict=True)):
        return None
    axes = [axis for axis, size in enumerate(padded.shape) if size != 1]
    if not axes:
        return 0, padded.reshape(())
    first, end = axes[0], axes[-1] + 1
    row = padded.reshape(padded.shape[first:end])
    return first, np.broadcast_to(row, shape[first:end])


@spells("Add", "Sub", "Mul", "Div", uses=_ARITHMETIC)
def arithmetic(w: Writer, node: Node) -> str:
    """Write a - b as a + (-1) b, and a / b as a b^-1."""
    first, second = node.inputs
    shape = w.shape(node.outputs[0])
    if w.constant(second) is not None:
        return _with_constant(w, node.operator, w.blob(first), np.asarray(w.constant(second)), shape)
    inverse = {"Sub": "Add", "Div": "Mul"}.get(node.operator)
    if w.constant(first) is not None:
        x = w.blob(second)
        if inverse:
            x = power(w, x, -1) if node.operator == "Sub" else power(w, x, power=-1)
        return _with_constant(w, inverse or node.operator, x, np.asarray(w.constant(first)), shape)
    a, b = w.blob(first), w.blob(second)
    if node.operator in ("Add", "Sub") and w.shapes[a] == w.shapes[b] == shape:
        return total(w, [a, b], [1, 1 if node.operator == "Add" else -1])
    if inverse:
        b = power(w, b, -1) if node.operator == "Sub" else power(w, b, power=-1)
    adds = node.operator in ("Add", "Sub")
    for large, small in ((a, b), (b, a)):
        span = spanned(w.shapes[small], shape) if w.shapes[large] == shape != w.shapes[small] else None
        if span is not None and span != (0, len(shape)):
            first_axis, end = span
            row = reshaped(w, small, shape[first_axis:end])
            return scaled(w, large, None, row, first_axis) if adds else scaled(w, large, row, None, first_axis)
    a, b = met(w, a, shape), met(w, b, shape)
    return total(w, [a, b]) if adds else product(w, a, b)


def _with_constant(w: Writer, operator: str, x: str, array: np.ndarray, shape: Shape) -> str:
    array = array.astype(np.float64)
    if operator == "Sub":
        array = -array
    if operator == "Div":
        if not array.all():
            raise CannotSay("it divides by 0")
        array = 1 / array
    if array.size == 1 and w.shapes[x] == shape:
        value = float(array.reshape(()))
        return power(w, x, shift=value) if operator in ("Add", "Sub") else power(w, x, value)
    x = met(w, x, shape)
    row = _row(array, shape)
    if row is None:
        raise CannotSay(f"a constant {array.shape} does not spread over {shape}")
    axis, values = row
    return scaled(w, x, None, values, axis) if operator in ("Add", "Sub") else scaled(w, x, values, None, axis)


@spells("Pow", uses=["Power"])
def power_of(w: Writer, node: Node) -> str:
    exponent = w.require_constant(node, 1, "exponent")
    if exponent.size != 1:
        raise CannotSay("it has several exponents")
    return power(w, w.blob(node.inputs[0]), power=float(exponent.reshape(())))


@spells("Sum", "Mean", uses=("Eltwise", "Tile", "Reshape", "Flatten"))
def sum_of_many(w: Writer, node: Node) -> str:
    shape = w.shape(node.outputs[0])
    blobs = [met(w, w.blob(name), shape) for name in node.inputs]
    share = 1 / len(blobs) if node.operator == "Mean" else 1.0
    if len(blobs) == 1:
        return blobs[0]
    return total(w, blobs, [share] * len(blobs))
