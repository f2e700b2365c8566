"""Normalisation: over batches, samples, groups, channels and neighbours."""

from __future__ import annotations

from math import prod

import numpy as np

from ..formulas import mapped, power, product, reshaped, scaled, standardised
from ..graph import Node
from ..writer import CannotSay, Writer, spells

_TINY = 1e-30  # added to a square, so that 0 divided by the length 0 is 0
_STANDARDISED = ("MVN", "Reduction", "Power", "Scale", "Reshape", "Flatten")


@spells("BatchNormalization", uses=["BatchNorm", "Scale"])
def batch_norm(w: Writer, node: Node) -> str:
    if node.attributes.get("training_mode", 0):
        raise CannotSay("it normalises by the batch, as in training")
    x = w.blob(node.inputs[0])
    names = ("scale", "shift", "mean", "variance")
    scale, shift, mean, variance = (w.require_constant(node, i, name) for i, name in enumerate(names, 1))
    eps = node.attributes.get("epsilon", 1e-5)
    param = {} if np.float32(eps) == np.float32(1e-5) else {"eps": eps}
    x = w.add("BatchNorm", [x], blobs=[mean, variance, np.ones(1)], batch_norm_param=param)
    return scaled(w, x, scale, shift, 1)


@spells("LayerNormalization", uses=_STANDARDISED)
def layer_norm(w: Writer, node: Node) -> str:
    """Normalise over the last axes."""
    x = w.blob(node.inputs[0])
    old = w.shapes[x]
    axis = node.attributes.get("axis", -1) % len(old)
    n = old[0] if axis else 1
    flat = reshaped(w, x, (n, prod(old[1:axis]), prod(old[axis:]), 1))
    made = reshaped(w, standardised(w, flat, node.attributes.get("epsilon", 1e-5)), old)
    learned: list[np.ndarray | None] = []
    for index, name in ((1, "scale"), (2, "shift")):
        if not node.input(index):
            learned.append(None)
            continue
        values = w.require_constant(node, index, name)
        learned.append(np.broadcast_to(values, old[axis:]))
    return scaled(w, made, learned[0], learned[1], axis)


@spells("InstanceNormalization", uses=_STANDARDISED)
def instance_norm(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    old = w.shapes[x]
    flat = reshaped(w, x, (*old[:2], prod(old[2:]), 1)) if len(old) != 4 else x
    made = standardised(w, flat, node.attributes.get("epsilon", 1e-5))
    scale, shift = (w.require_constant(node, i, name) for i, name in ((1, "scale"), (2, "shift")))
    return scaled(w, reshaped(w, made, old), scale, shift, 1)


@spells("GroupNormalization", uses=_STANDARDISED)
def group_norm(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    old = w.shapes[x]
    groups = node.attributes["num_groups"]
    flat = reshaped(w, x, (old[0], groups, prod(old[1:]) // groups, 1))
    made = reshaped(w, standardised(w, flat, node.attributes.get("epsilon", 1e-5)), old)
    scale, shift = (w.require_constant(node, i, name) for i, name in ((1, "scale"), (2, "shift")))
    if w.graph.opset < 21 and scale.size == groups:  # one for each group, before version 21
        scale, shift = (np.repeat(array, old[1] // groups) for array in (scale, shift))
    return scaled(w, made, scale, shift, 1)


@spells("LpNormalization", uses=["Convolution", "Power", "Eltwise", "Reduction", "Scale", "Reshape", "Flatten"])
def unit_length(w: Writer, node: Node) -> str:
    """Divide every vector along an axis by its length."""
    if node.attributes.get("p", 2) != 2:
        raise CannotSay("it divides by a sum of absolute values")
    x = w.blob(node.inputs[0])
    old = w.shapes[x]
    axis = node.attributes.get("axis", -1) % len(old)
    if prod(old[axis + 1 :]) == 1:
        squares = w.add("Reduction", [x], old[:axis], reduction_param={"operation": "SUMSQ", "axis": axis})
        return scaled(w, x, power(w, squares, 1, _TINY, -0.5), None, 0)
    sums = mapped(w, power(w, x, power=2), axis, np.ones((old[axis], old[axis])))
    return product(w, x, power(w, sums, 1, _TINY, -0.5))


@spells("LRN", uses=["LRN"])
def local_response(w: Writer, node: Node) -> str:
    size = node.attributes["size"]
    if size % 2 == 0:
        raise CannotSay(f"Caffe's window of {size} channels must be odd")
    param = {
        "local_size": size,
        "alpha": node.attributes.get("alpha", 1e-4),
        "beta": node.attributes.get("beta", 0.75),
        "k": node.attributes.get("bias", 1.0),
    }
    return w.add("LRN", [w.blob(node.inputs[0])], lrn_param=param)
