"""A graph as a person would have written it for PyTorch: operations that belong together become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..onnx_graph import OnnxGraph, OnnxNode, Value


def simplified(graph: OnnxGraph) -> OnnxGraph:
    """Return a graph without what has no effect on the outputs.

    A BatchNormalization takes in the scale and shift after it. A PRelu for channels has a vector of slopes, and an
    attribute ``channels``, which ONNX does not have.
    """
    return _Simplifier(graph).run()


def bodies(node: OnnxNode) -> list[OnnxGraph]:
    return [value for value in node.attributes.values() if isinstance(value, OnnxGraph)]


def with_bodies(graph: OnnxGraph) -> Iterator[OnnxNode]:
    """Yield the operations of a graph and of its loops."""
    for node in graph.nodes:
        yield node
        for body in bodies(node):
            yield from with_bodies(body)


def operands(node: OnnxNode) -> list[Value]:
    """Return what an operation reads; what a loop in it reads is there twice, because it is needed in every step."""
    read = [value for value in node.inputs if value is not None]
    for body in bodies(node):
        made = {id(value) for inner in body.nodes for value in inner.outputs} | {id(value) for value in body.inputs}
        outer = [value for inner in body.nodes for value in operands(inner) if id(value) not in made]
        read += outer + outer
    return read


def readers(graph: OnnxGraph) -> Counter[int]:
    """Count the readers of each value, by its identity."""
    counts = Counter(id(value) for node in graph.nodes for value in operands(node))
    counts.update(id(value) for value in graph.outputs)
    for node in graph.nodes:
        for body in bodies(node):
            counts.update(readers(body))
    return counts


class _Simplifier:
    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.producers = {id(value): node for node in graph.nodes for value in node.outputs}
        self.counts = readers(graph)

    def run(self) -> OnnxGraph:
        needed = {id(value) for value in self.graph.outputs}
        nodes: list[OnnxNode] = []
        for node in reversed(self.graph.nodes):
            if needed.intersection(map(id, node.outputs)):
                node = self._whole(node)
                nodes.append(node)
                needed |= {id(value) for value in operands(node)}
        return replace(self.graph, nodes=nodes[::-1])

    def _whole(self, node: OnnxNode) -> OnnxNode:
        if node.op == "PRelu":
            return self._with_slopes(node)
        if node.op == "Add":
            for x, shift in self._orders(node):
                scaled = self._only(x, "Mul")
                for y, scale in self._orders(scaled) if scaled else ():
                    if (norm := self._plain_norm(y)) and (joined := self._joined(norm, scale, shift, node)):
                        return joined
        if node.op == "Mul":
            for x, scale in self._orders(node):
                if (norm := self._plain_norm(x)) and (joined := self._joined(norm, scale, None, node)):
                    return joined
        return node

    @staticmethod
    def _orders(node: OnnxNode) -> list[tuple[Value, Value]]:
        first, second = node.inputs
        return [] if first is None or second is None else [(first, second), (second, first)]

    def _only(self, value: Value, op: str) -> OnnxNode | None:
        """Return the operation that makes a value with one reader, if it is of this type."""
        node = self.producers.get(id(value))
        return node if node is not None and node.op == op and self.counts[id(value)] == 1 else None

    def _plain_norm(self, value: Value) -> OnnxNode | None:
        """Return a normalisation that has no scale and shift of its own."""
        node = self._only(value, "BatchNormalization")
        if node is None:
            return None
        scale, shift = (None if value is None or value.blob else value.array for value in node.inputs[1:3])
        plain = scale is not None and shift is not None and np.all(scale == 1) and not np.any(shift)
        return node if plain else None

    def _joined(self, norm: OnnxNode, scale: Value, shift: Value | None, last: OnnxNode) -> OnnxNode | None:
        x, _, zeros, *statistics = norm.inputs
        axes = None if x is None or x.shape is None else x.ndim
        vectors = [self._vector(value, axes) for value in (scale, *([] if shift is None else [shift]))]
        if axes is None or any(vector is None for vector in vectors):
            return None
        return replace(
            norm, inputs=[x, *vectors, *([zeros] if shift is None else []), *statistics], outputs=last.outputs
        )

    def _vector(self, value: Value, axes: int | None) -> Value | None:
        """Return the learned vector that a value is, spread along the channels of images with so many axes."""
        node = self.producers.get(id(value))
        vector = node.inputs[0] if node is not None and node.op == "Reshape" else value
        shape = value.shape
        if vector is None or vector.blob is None or vector.ndim != 1 or shape is None or axes is None:
            return None
        return vector if shape == (*vector.sizes, *(1,) * (axes - 2)) else None

    def _with_slopes(self, node: OnnxNode) -> OnnxNode:
        x, slope = node.inputs
        vector = None if x is None or slope is None or x.shape is None else self._vector(slope, x.ndim)
        return node if vector is None else replace(node, inputs=[x, vector], attributes={"channels": True})
