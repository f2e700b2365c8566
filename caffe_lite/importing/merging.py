"""Nodes that become part of a neighbour: paddings before windows, and terms after products with weights."""

from __future__ import annotations

import numpy as np

from .graph import Graph, Node


def merge(graph: Graph) -> None:
    """Merge what can be merged."""
    for node in list(graph.nodes):
        if node.operator in ("Conv", "MaxPool", "AveragePool"):
            _merge_padding(graph, node)
        elif node.operator == "Add":
            _merge_term(graph, node)
    graph.index()
    graph.drop_unread()


def _merge_padding(graph: Graph, node: Node) -> None:
    """Let a convolution or pooling pad its images itself."""
    pad = graph.makers.get(node.inputs[0])
    if pad is None or pad.operator != "Pad" or pad.attributes.get("mode", "constant") != "constant":
        return
    given = graph.setting(pad, "pads", 1)
    value = graph.setting(pad, "value", 2, 0.0)
    if given is None or pad.input(3) or (pad.input(2) and pad.input(2) not in graph.constants):
        return
    number = float(np.reshape(value, ()))
    own = node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "", "VALID")
    rank = len(graph.shapes[pad.inputs[0]])
    before, after = [int(one) for one in given[:rank]], [int(one) for one in given[rank:]]
    if not own or any((*before[:2], *after[:2])) or min(*before, *after) < 0:
        return
    pads = list(node.attributes.get("pads", [0] * 2 * (rank - 2)))
    # The padding of MAX pooling never wins, as a number below all others.
    fits = number <= float(np.finfo(np.float32).min) if node.operator == "MaxPool" else number == 0
    if node.operator == "AveragePool" and any((*before, *after)):
        fits = fits and (not any(pads) or bool(node.attributes.get("count_include_pad", 0)))
        fits = fits and not node.attributes.get("ceil_mode", 0)
        if fits:
            node.attributes["count_include_pad"] = 1
    if fits:
        node.attributes.pop("auto_pad", None)
        node.attributes["pads"] = [old + new for old, new in zip(pads, before[2:] + after[2:], strict=True)]
        node.inputs[0] = pad.inputs[0]


def _merge_term(graph: Graph, node: Node) -> None:
    """Let a product with weights add a constant for each output itself."""
    for first, second in (node.inputs, node.inputs[::-1]):
        product, term = graph.makers.get(first), graph.constants.get(second)
        if product is None or term is None or not graph.read_once(first):
            continue
        if product.operator == "MatMul" and product.inputs[1] in graph.constants:
            weight = graph.constants[product.inputs[1]]
            if weight.ndim != 2 or term.shape not in ((weight.shape[1],), (1, weight.shape[1])):
                continue
            product.operator = "Gemm"
        elif product.operator in ("Conv", "ConvTranspose") and not product.input(2):
            shape = graph.shapes[first]
            if term.shape not in ((shape[1], *[1] * (len(shape) - 2)), (1, shape[1], *[1] * (len(shape) - 2))):
                continue
        else:
            continue
        name = f"{second}/term" if term.ndim > 1 else second
        graph.constants[name] = term.reshape(-1)
        graph.shapes[name] = (term.size,)
        product.inputs = [*product.inputs[:2], name]
        product.outputs = list(node.outputs)
        graph.nodes.remove(node)
        graph.index()
        return
