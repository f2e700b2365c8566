"""Modules of PyTorch as source text, made from a net's graph; groups of layers become classes of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import NetError
from ..onnx_graph import OnnxGraph, OnnxNode, Value
from .torch_classes import Classes, class_text
from .torch_code import Code, Names, call, camel, literal
from .torch_operators import TRANSLATIONS, write
from .torch_scope import Block, Scope, helpers
from .torch_simplifying import operands, readers, simplified, with_bodies
from .writing import WrittenNet

_LEAST_LAYERS = 2  # with weights, of a group that gets a class of its own


@dataclass
class Source:
    """A module of PyTorch: the name of its class, the text of the file, and its weights as state_dict has them."""

    name: str
    text: str
    state: dict[str, Value]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights as arrays in row-major order."""
        return {name: np.asarray(value.array, order="C") for name, value in self.state.items()}


@dataclass
class _Group:
    """Consecutive operations of layers whose names start with the same prefix, up to a slash."""

    prefix: str
    nodes: list[OnnxNode] = field(default_factory=list)


def source_of(written: WrittenNet, name: str, weights: str) -> Source:
    """Write a net's graph as a module of PyTorch; ``weights`` is the name of the file that will hold its weights.

    Raises NetError with all layers whose operators have no translation.
    """
    graph = simplified(written.graph)
    _check(graph)
    blobs = {id(value): value.name for value in graph.outputs}
    for blob, value in written.values.items():  # the tops of Splits come after the blobs that they repeat
        blobs.setdefault(id(value), blob)
    reads = readers(graph)
    producers = {id(value): node for node in with_bodies(graph) for value in node.outputs}
    classes = Classes(camel(name, "Net") or "Net")
    scope = Scope(graph, blobs, reads, producers, ends={id(value) for value in graph.outputs})
    arguments = [scope.argument(value) for value in graph.inputs]
    for group in _groups(graph):
        if group.prefix:
            _write_group(group, scope, classes)
        else:
            write(group.nodes, scope)
    if scope.problems:
        told = "".join(f"\n  {problem}" for problem in scope.problems)
        raise NetError(f"not everything can be written in PyTorch:{told}", hint="Export the net to ONNX instead")
    results = [scope.code(value) for value in graph.outputs]
    pairs = ", ".join(f"{literal(value.name)}: {code}" for value, code in zip(graph.outputs, results, strict=True))
    returned = results[0] if len(results) == 1 else Code(f"{{{pairs}}}")
    of_groups = list(classes.texts())
    parts = [
        *(text for name, text in helpers().items() if name in scope.helpers),
        *of_groups,
        class_text(classes.main, Block(scope, arguments, returned)),
    ]
    used = "\n".join(parts)
    imports = ["import torch"] if _names("torch", used) else []
    imports += ["import torch.nn.functional as F"] if _names("F", used) else []
    imports += ["from torch import Tensor, nn"] if _names("Tensor", used) else ["from torch import nn"]
    opening = _docstring(written, classes.main, name, weights, arguments, bool(scope.state))
    text = "\n".join([opening, "", *imports, "", "", "\n\n\n".join(parts), ""])
    return Source(classes.main, text, scope.state)


def _names(name: str, text: str) -> bool:
    """Return whether a text of Python has a name by itself, not as an attribute or in quotes."""
    return re.search(rf"(?<![\w.\"]){name}\b", text) is not None


def _check(graph: OnnxGraph) -> None:
    unknown: dict[str, dict[str, None]] = {}
    for node in with_bodies(graph):
        if node.op not in TRANSLATIONS:
            unknown.setdefault(node.op, {})[node.layer] = None
    if unknown:
        told = "; ".join(f"{op} of {', '.join(map(repr, layers))}" for op, layers in unknown.items())
        raise NetError(f"these operators cannot be written in PyTorch: {told}", hint="Export the net to ONNX instead")


def _groups(graph: OnnxGraph) -> Iterator[_Group]:
    """Part the operations: into groups that get a class, and others, whose prefix is empty."""
    runs: list[_Group] = []
    for node in graph.nodes:
        prefix = node.layer.partition("/")[0] + "/" if "/" in node.layer else ""
        if not runs or runs[-1].prefix != prefix:
            runs.append(_Group(prefix))
        runs[-1].nodes.append(node)
    times = Counter(run.prefix for run in runs)
    shared = _shared_weights(runs)
    for run in runs:
        learned = {node.layer for node in run.nodes if any(value.blob for value in operands(node))}
        if times[run.prefix] > 1 or len(learned) < _LEAST_LAYERS or run.prefix in shared:
            run.prefix = ""
        yield run


def _shared_weights(runs: Sequence[_Group]) -> set[str]:
    """Return the prefixes of the groups whose weights others read, too."""
    prefixes: dict[int, set[str]] = {}
    for run in runs:
        for node in run.nodes:
            for value in operands(node):
                if value.blob is not None:
                    prefixes.setdefault(id(value), set()).add(run.prefix)
    return {prefix for found in prefixes.values() if len(found) > 1 for prefix in found}


def _write_group(group: _Group, outer: Scope, classes: Classes) -> None:
    made = {id(value) for node in group.nodes for value in node.outputs}
    read: dict[int, Value] = {}
    for node in group.nodes:
        for value in operands(node):
            if value.array is None and id(value) not in made:
                read[id(value)] = value
    inside = Counter(id(value) for node in group.nodes for value in operands(node))
    ends = [value for node in group.nodes for value in node.outputs if outer.reads[id(value)] > inside[id(value)]]
    inner = outer.inner(group.prefix)
    inner.ends = {id(value) for value in ends}
    inner.reads = Counter(outer.reads)
    inner.reads.update({end: inside[end] + 1 - outer.reads[end] for end in inner.ends})
    arguments = [inner.argument(value, "x" if len(read) == 1 else "") for value in read.values()]
    write(group.nodes, inner)
    results = [inner.code(value) for value in ends]
    returned = results[0] if len(results) == 1 else Code(", ".join(results))
    classes.blocks.append(Block(inner, arguments, returned))
    outer.helpers |= inner.helpers
    name = outer.attributes.new(group.prefix.rstrip("/"), "block")
    outer.made[name] = classes.blocks[-1]
    outer.state |= {f"{name}.{key}": value for key, value in inner.state.items()}
    outer.take(ends, call(f"self.{name}", *(outer.code(value) for value in read.values())))


def _docstring(
    written: WrittenNet, title: str, name: str, weights: str, arguments: Sequence[str], has_weights: bool
) -> str:
    outputs = [value.name for value in written.graph.outputs]
    result = "y" if len(outputs) > 1 else Names().new(outputs[0], "y")
    example = [f"net = {title}().eval()"]
    if has_weights:
        example = ["from safetensors.torch import load_file", "", *example]
        example.append(f"net.load_state_dict(load_file({literal(weights)}))")
    example.append(f"{result} = net({', '.join(arguments)})")
    ends = [
        *zip(arguments, written.graph.inputs, strict=True),
        *((value.name, value) for value in written.graph.outputs),
    ]
    shapes = "\n".join(f"    {name}: {_shape_text(written, value)}" for name, value in ends)
    body = "\n".join(f"    {line}".rstrip() for line in example)
    shown = name.replace("\\", "\\\\").replace('"', "'") or title
    ended = "Inputs and outputs" + ("" if len(outputs) == 1 else ", by name")
    parts = [f"{shown}, exported from Caffe by caffe_lite.", "Use:", body, f"{ended}:", shapes]
    return '"""' + "\n\n".join(parts) + '\n"""'


def _shape_text(written: WrittenNet, value: Value) -> str:
    sizes = [str(written.free.get((value.name, axis), size)) for axis, size in enumerate(value.sizes)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
