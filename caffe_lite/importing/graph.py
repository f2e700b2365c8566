"""An ONNX model as a graph of nodes: constants as arrays, a shape for every tensor, and whoever makes and reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..agreement.onnx_running import onnx
from ..errors import NetError, Where
from ..files.paths import StrPath
from ..proto.caffe_pb2 import LayerParameter

Shape = tuple[int, ...]


@dataclass(eq=False)
class Node:
    """One operation: its operator, its tensors by name ("" for an input that is left out), and its attributes.

    ``layer`` is set if a model says that the operation is this layer.
    """

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    layer: LayerParameter | None = None

    def input(self, index: int) -> str:
        """Return the name of an input, "" if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator})"


@dataclass
class Graph:
    """The nodes in an order in which they can run; constants, shapes and types by the names of tensors."""

    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: dict[str, Shape]
    outputs: list[str]
    opsets: dict[str, int]
    types: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index()

    def index(self) -> None:
        """Find out anew who makes and who reads each tensor; for after nodes have changed."""
        self.makers = {name: node for node in self.nodes for name in node.outputs if name}
        self.readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return self.opsets.get("", 1)

    def read_once(self, name: str) -> bool:
        """Return whether one node alone reads a tensor, and nothing outside the graph."""
        return len(self.readers.get(name, ())) == 1 and name not in self.outputs

    def setting(self, node: Node, name: str, index: int, default: Any = None) -> Any:
        """Return what newer operators take as a constant input, and older ones as an attribute."""
        tensor = node.input(index)
        return self.constants[tensor] if tensor in self.constants else node.attributes.get(name, default)

    def drop_unread(self) -> None:
        """Leave out the nodes and constants that no output depends on."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}
        self.index()


def read_model(source: StrPath | Any) -> Any:
    """Read a model from a file, or take onnx's ModelProto. Raise a NetError for a file that is no model."""
    return source if isinstance(source, onnx().ModelProto) else _loaded(source)


def read_graph(model: Any, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """Make a graph of onnx's ModelProto.

    ``shapes`` gives the sizes of inputs by name. A size that the model leaves open is 1 if it is the first, the batch;
    any other has to be given. Raise a NetError for an unknown size.
    """
    if model.functions:
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    constants = {tensor.name: onnx().numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in constants]
    given = dict(shapes or {})
    for name in given:
        if name not in {value.name for value in fed}:
            raise NetError(
                f"the model has no input {name!r}", hint=f"its inputs are {', '.join(value.name for value in fed)}"
            )
    graph = Graph(
        nodes=list(_nodes(model.graph)),
        constants=constants,
        inputs={value.name: _shape(value, given.get(value.name)) for value in fed},
        outputs=[value.name for value in model.graph.output],
        opsets={opset.domain.removeprefix("ai.onnx"): opset.version for opset in model.opset_import},
        types={value.name: value.type.tensor_type.elem_type for value in (*fed, *model.graph.output)},
    )
    graph.shapes = dict(graph.inputs) | {name: array.shape for name, array in constants.items()}
    return graph


def _loaded(path: StrPath) -> Any:
    from google.protobuf.message import DecodeError

    where = Where(os.fspath(path))
    if not os.path.exists(path):
        raise NetError("there is no such file", where=where)
    try:
        model = onnx().load(os.fspath(path))
    except (DecodeError, onnx().checker.ValidationError) as error:
        raise NetError(f"this is not an ONNX model: {error}", where=where) from None
    if not model.graph.node and not model.graph.output:
        raise NetError("this is not an ONNX model: it holds no graph", where=where)
    return model


def _nodes(graph: Any) -> Iterator[Node]:
    from onnx.helper import get_attribute_value

    for place, proto in enumerate(graph.node):
        attributes = {attribute.name: get_attribute_value(attribute) for attribute in proto.attribute}
        texts = {name: value.decode() for name, value in attributes.items() if isinstance(value, bytes)}
        name = proto.name or next((output for output in proto.output if output), f"node {place}")
        domain = proto.domain.removeprefix("ai.onnx")
        yield Node(name, proto.op_type, list(proto.input), list(proto.output), attributes | texts, domain)


def _shape(value: Any, given: Sequence[int] | None) -> Shape:
    dims = value.type.tensor_type.shape.dim
    if given is not None:
        if value.type.tensor_type.HasField("shape") and len(given) != len(dims):
            raise NetError(f"input {value.name!r} has {len(dims)} axes, and {len(given)} sizes are given for it")
        return tuple(int(size) for size in given)
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims]
    if sizes and sizes[0] < 1:
        sizes[0] = 1
    if not value.type.tensor_type.HasField("shape") or min(sizes, default=1) < 1:
        shown = "x".join(str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)
        raise NetError(
            f"the model leaves sizes of its input {value.name!r} open: {shown or 'all'}",
            hint=f"Give them: --shape {value.name}=1x3x224x224, or shapes={{{value.name!r}: (1, 3, 224, 224)}}",
        )
    return tuple(sizes)
