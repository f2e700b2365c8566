"""Writing a graph as layers: the table of spellings by operator, and the net that grows from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetError
from ..proto.arrays import array_to_blobproto
from ..proto.caffe_pb2 import LayerParameter, NetParameter
from .graph import Graph, Node, Shape
from .targets import TARGETS, Target

Emitter = Callable[["Writer", Node], "str | Sequence[str]"]


class CannotSay(Exception):
    """A spelling does not fit a node; the text says why."""


@dataclass(frozen=True)
class Spelling:
    """A way to write an operator, and the layers that it uses."""

    layers: tuple[str, ...]
    emit: Emitter


SPELLINGS: dict[str, list[Spelling]] = {}


def spells(*operators: str, uses: Sequence[str]) -> Callable[[Emitter], Emitter]:
    """Register a function as a way to write these operators with these layers; earlier ways are preferred.

    The function adds layers and returns the blobs that hold the node's outputs, or raises CannotSay.
    """

    def register(emit: Emitter) -> Emitter:
        for operator in operators:
            SPELLINGS.setdefault(operator, []).append(Spelling(tuple(uses), emit))
        return emit

    return register


@dataclass(frozen=True)
class Unsayable:
    """A node that the target has no words for: why, and which targets have some."""

    node: Node
    why: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        able = f" (--target {' or '.join(self.others)} can)" if self.others else ""
        return f"{self.node}: {self.why}{able}"


class Writer:
    """Writes nodes as layers of a net. Every blob has exactly the shape of the tensor that it holds."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.layers: list[LayerParameter] = []
        self.shapes: dict[str, Shape] = {}  # of blobs
        self.blobs: dict[str, str] = {}  # the blob of each tensor
        self._taken = set(graph.inputs) | set(graph.outputs)  # their names stay
        self._name = ""
        for name, shape in graph.inputs.items():
            self.blobs[name] = name
            self.shapes[name] = shape
            self.layers.append(LayerParameter(name=name, type="Input", top=[name]))
            self.layers[-1].input_param.shape.add().dim.extend(shape)

    # Adding layers

    def add(
        self,
        layer_type: str,
        bottoms: Sequence[str],
        shape: Shape | None = None,
        blobs: Sequence[np.ndarray] = (),
        suffix: str = "",
        **param: Any,
    ) -> str:
        """Add a layer with one top, and return the top's name; its shape is that of the first bottom if none is given.

        ``param`` are fields of the layer, as in power_param={"scale": 2.0}.
        """
        shape = self.shapes[bottoms[0]] if shape is None else shape
        return self.add_tops(layer_type, bottoms, [shape], blobs, suffix, **param)[0]

    def add_tops(
        self,
        layer_type: str,
        bottoms: Sequence[str],
        shapes: Sequence[Shape],
        blobs: Sequence[np.ndarray] = (),
        suffix: str = "",
        **param: Any,
    ) -> list[str]:
        """Add a layer with a top for each shape, and return their names."""
        name = self.unique(f"{self._name}/{suffix or layer_type.lower()}")
        tops = [name, *(self.unique(f"{name}_{index}") for index in range(1, len(shapes)))][: len(shapes)]
        layer = LayerParameter(name=name, type=layer_type, bottom=bottoms, top=tops, **param)
        layer.blobs.extend(array_to_blobproto(np.asarray(array, np.float32)) for array in blobs)
        self.layers.append(layer)
        self.shapes.update(zip(tops, shapes, strict=True))
        return tops

    def unique(self, name: str) -> str:
        """Return a name that nothing has yet, as like this one as can be, and take it."""
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def restored(self, node: Node) -> list[str]:
        """Add the layer that a model says a node is."""
        assert node.layer
        bottoms, shapes = [self.blob(name) for name in node.inputs], [self.shape(name) for name in node.outputs]
        tops = self.add_tops(node.layer.type, bottoms, shapes)
        settings = LayerParameter()
        settings.CopyFrom(node.layer)
        for name in ("name", "bottom", "top"):
            settings.ClearField(name)
        self.layers[-1].MergeFrom(settings)
        return tops

    # Looking at nodes

    def shape(self, tensor: str) -> Shape:
        return self.graph.shapes[tensor]

    def constant(self, tensor: str) -> np.ndarray | None:
        """Return the values of a tensor if they depend on no input, in any case None for "", an input left out."""
        return self.graph.constants.get(tensor)

    def blob(self, tensor: str) -> str:
        """Return the blob of a tensor. A constant becomes a Parameter layer, whose values lie with the weights."""
        if tensor not in self.blobs:
            array = self.graph.constants[tensor]
            if not np.issubdtype(array.dtype, np.number):
                raise CannotSay(f"{tensor} holds {array.dtype}, blobs hold numbers")
            if not array.size:
                raise CannotSay(f"{tensor} is empty")
            self.blobs[tensor] = self.add(
                "Parameter",
                [],
                array.shape,
                [array],
                suffix=cleaned(tensor),
                parameter_param={"shape": {"dim": list(array.shape)}},
            )
        return self.blobs[tensor]

    def require_constant(self, node: Node, index: int, what: str) -> np.ndarray:
        """Return the constant values of an input; raise CannotSay if they are computed."""
        found = self.constant(node.input(index))
        if found is None:
            raise CannotSay(f"its {what} must be constant, and is computed ({node.input(index)})")
        return found

    # Writing nodes

    def write(self) -> list[Unsayable]:
        """Write every node, and return those that cannot be written; what follows them is written all the same."""
        problems = []
        for node in self.graph.nodes:
            if not all(self._is_known(name) for name in node.inputs if name):
                continue  # nothing can be said about what follows a node whose shape is unknown
            why = self._write_node(node, self.target)
            if why:
                others = tuple(name for name, other in TARGETS.items() if self._can(node, other))
                problems.append(Unsayable(node, why, others))
                for output in node.outputs:
                    self.blobs[output] = output
                    self.shapes[output] = self.graph.shapes.get(output, ())
        if not problems:
            self._name_outputs()
        return problems

    def _is_known(self, tensor: str) -> bool:
        return tensor in self.graph.shapes and (tensor in self.blobs or tensor in self.graph.constants)

    def _can(self, node: Node, target: Target) -> bool:
        """Return whether a target has words for a node, and leave no trace of the attempt."""
        before, blobs, taken = len(self.layers), dict(self.blobs), set(self._taken)
        able = not self._write_node(node, target)
        del self.layers[before:]
        self.blobs, self._taken = blobs, taken
        return able

    def _write_node(self, node: Node, target: Target) -> str:
        """Write a node in the first spelling that fits; return why none does, or nothing."""
        spellings = SPELLINGS.get(node.operator, []) if not node.domain else []
        if node.layer:
            spellings = [Spelling((node.layer.type,), Writer.restored)]
        reasons = [] if spellings else [f"no layer computes {node.domain or 'this'}"]
        used = [name for name in node.outputs if name and (name in self.graph.readers or name in self.graph.outputs)]
        if spellings and not all(name in self.graph.shapes for name in used):
            return "values decide the shape of its result, and Caffe's nets have fixed shapes"
        for spelling in spellings:
            if not target.has(spelling.layers):
                missing = [layer for layer in spelling.layers if not target.has([layer])]
                reasons.append(f"{target.title} has no {' and no '.join(missing)}")
                continue
            before, blobs, taken = len(self.layers), dict(self.blobs), set(self._taken)
            self._name = self._name_of(node)
            try:
                emitted = spelling.emit(self, node)
                made = [emitted] if isinstance(emitted, str) else emitted
                if set(node.outputs[len(made) :]) & set(used):
                    raise CannotSay(f"no layer computes its output {', '.join(node.outputs[len(made) :])}")
            except CannotSay as error:
                del self.layers[before:]
                self.blobs, self._taken = blobs, taken
                reasons.append(str(error))
                continue
            self._keep(node, made, before)
            return ""
        return "; ".join(dict.fromkeys(reasons))

    def _keep(self, node: Node, made: Sequence[str], first: int) -> None:
        """Bind the outputs of a node to the blobs that hold them, and give the layer that makes the first its name."""
        fresh = {top: layer for layer in self.layers[first:] for top in layer.top}
        for index, (output, blob) in enumerate(zip(node.outputs, made, strict=False)):
            if not output:
                continue
            if self.shapes[blob] != self.graph.shapes[output]:
                raise NetError(
                    f"{node} was written with a result {self.shapes[blob]} instead of {self.graph.shapes[output]}",
                    hint="Please report it, with the model",
                )
            layer = fresh.get(blob)
            name = blob
            if layer is not None:
                if output in self.graph.outputs and output not in self.blobs.values():
                    name = output
                elif index == 0:
                    name = self._name
                if index == 0:
                    layer.name = self._name
                self._rename(first, blob, name)
            self.blobs[output] = name

    def _rename(self, first: int, blob: str, name: str) -> None:
        for layer in self.layers[first:]:
            layer.bottom[:] = [name if bottom == blob else bottom for bottom in layer.bottom]
            layer.top[:] = [name if top == blob else top for top in layer.top]
        self.shapes[name] = self.shapes[blob]

    def _name_of(self, node: Node) -> str:
        """Return a new name for a layer: that of the module that its weights belong to, or that of its output."""
        for tensor in node.inputs[1:]:
            if tensor in self.graph.constants and tensor.endswith(".weight"):
                return self.unique(tensor.removesuffix(".weight"))
        output = node.outputs[0]
        return output if output in self.graph.outputs else self.unique(cleaned(output))

    def _name_outputs(self) -> None:
        """Give every output of the graph a blob of its name that no layer reads, so that it is an output of the net."""
        for output in self.graph.outputs:
            if output not in self.blobs:
                self._name = self.unique(cleaned(output))
                self.blob(output)
            blob = self.blobs[output]
            if blob != output:
                self._copy(blob, output)
                self.blobs[output] = output
        for output in self.graph.outputs:
            if any(output in layer.bottom for layer in self.layers):
                if output in self.graph.inputs:
                    raise NetError(f"the model's input {output!r} is an output, too", hint="remove that output")
                inner = self.unique(f"{output}/inner")
                self._rename(0, output, inner)
                self._copy(inner, output)

    def _copy(self, blob: str, output: str) -> None:
        name = self.unique(f"{output}/copy")
        self.layers.append(LayerParameter(name=name, type="Split", bottom=[blob], top=[output]))
        self.shapes[output] = self.shapes[blob]

    def net(self) -> NetParameter:
        """Return the net, with its weights as blobs of its layers."""
        return NetParameter(layer=self.layers)

    def computed(self) -> dict[str, str]:
        """Return the blobs of the tensors that nodes make."""
        return {tensor: blob for tensor, blob in self.blobs.items() if tensor in self.graph.makers}


def cleaned(name: str) -> str:
    """Return a tensor's or node's name without what PyTorch adds to it."""
    return re.sub(r"_output_0$", "", name.removeprefix("/").removeprefix("node_")) or "layer"
