"""Writing a net as a graph in ONNX's terms, from which files of ONNX and modules of PyTorch are made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import CaffeError, NetError
from ..inspection.outline import Outline, shape_of
from ..layer import Kind, Layer
from ..logs.log import muted
from ..net.filtering import PlacedLayer
from ..net.structure import Structure
from ..net.wiring import Node
from ..onnx_graph import OnnxGraph, Sizes, Value
from ..proto.caffe_pb2 import LayerParameter
from ..pycaffe.net import Net


@dataclass
class WrittenNet:
    """A net's graph: its values by the names of the blobs, and the layers that are not in it.

    Attributes:
        values: the last value of each blob.
        inputs, outputs: the names of the blobs that the graph takes and gives.
        left_out: losses, accuracies and layers without tops, which only train or report.
        free_batch: whether the number of items may be any.
        layers: those that are several operations, with the names of the values that they read, make and have learned.
        free: the names of sizes that the batch or values decide, by the name of the blob and the axis.
    """

    graph: OnnxGraph
    values: dict[str, Value]
    inputs: list[str]
    outputs: list[str]
    left_out: list[Node]
    free_batch: bool
    layers: list[LayerParameter] = field(default_factory=list)
    free: dict[tuple[str, int], str] = field(default_factory=dict)


def write(net: Net, opset: int = 17, free_batch: bool = True, outputs: Sequence[str] | None = None) -> WrittenNet:
    """Write a net that is in TEST, with its present weights and shapes.

    The tops of data layers are inputs. Losses, accuracies and what follows from them are left out; the blobs that they
    read are outputs, as are those that no layer reads. ``outputs`` names other blobs instead. With ``free_batch``, the
    first axis of every input may have any size; otherwise all sizes are the present ones, except those that follow from
    values, such as the number of objects found.

    Raises NetError with every layer that cannot be written.
    """
    parts = parted(net.nodes)
    found = list(dict.fromkeys(_outputs(parts))) if outputs is None else list(outputs)
    clash = next((name for name in found if name in parts.inputs), None)
    if clash is not None:
        raise NetError(
            f"blob {clash!r} is an input and, computed in place, an output, which a graph cannot have",
            hint="Give the first layer that computes it in place a top of another name, and those after it",
        )
    written, problems = attempt(net, parts, found, opset, free_batch)
    if problems:
        raise _together([error for _, error in problems])
    return written


def attempt(
    net: Net | Structure, parts: Parts, outputs: Sequence[str], opset: int = 17, free_batch: bool = True
) -> tuple[WrittenNet, list[tuple[Node, CaffeError]]]:
    """Write the layers of a net that are to be kept; return also those that cannot be written, with the reasons."""
    kept = parts.kept
    inputs = parts.inputs
    made = dict.fromkeys([*inputs, *(name for node in kept for name in node.top_names)])
    present = {name: blob.shape for node in net.nodes for name, blob in zip(node.top_names, node.top, strict=True)}
    shapes: dict[str, Sizes] = {name: present[name] for name in made}
    free = _free_sizes(net, kept, inputs, shapes, free_batch)
    for name, axis in free:
        shapes[name] = (*shapes[name][:axis], None, *shapes[name][axis + 1 :])
    graph = OnnxGraph(opset)
    for name in made:
        graph.unused_name(name)
    written = WrittenNet(graph, {}, inputs, list(outputs), parts.left_out, free_batch, free=free)
    for name in inputs:
        written.values[name] = Value(name, shapes[name])
        graph.inputs.append(written.values[name])
    last = {name: node for node in kept for name in node.top_names}
    problems: list[tuple[Node, CaffeError]] = []
    for node in kept:
        bottom = [written.values[name] for name in node.bottom_names]
        top = [Value(name, shapes[name]) for name in node.top_names]
        graph.layer = node.name
        before = len(graph.nodes)
        try:
            results = list(node.layer.to_onnx(graph, bottom, top))
        except CaffeError as error:
            problems.append((node, error.located(node.where, node.name, node.layer.type)))
            results = top
        own = {id(value) for made in graph.nodes[before:] for value in made.outputs}
        learned = graph.learned(node.layer.blobs)
        is_whole = len(graph.nodes) > before + 1 and learned is not None and own.issuperset(map(id, results))
        for value, wanted in zip(results, top, strict=True):
            if id(value) in own and last[wanted.name] is node and wanted.name not in inputs:
                value.name = wanted.name
                own.discard(id(value))
            value.shape = wanted.shape
            written.values[wanted.name] = value
        if is_whole:
            written.layers.append(_described(node, bottom, results, learned or []))
    if not problems:
        graph.outputs += [_named(graph, name, written.values[name]) for name in outputs]
    return written, problems


def _described(
    node: Node, bottom: Sequence[Value], results: Sequence[Value], learned: Sequence[Value]
) -> LayerParameter:
    """Return a layer's parameters, with the names of values in place of those of blobs, learnable ones too."""
    layer = LayerParameter()
    layer.CopyFrom(node.param)
    for name in ("bottom", "top", "phase", "include", "exclude", "param"):
        layer.ClearField(name)
    layer.bottom.extend(value.name for value in bottom)
    layer.top.extend(value.name for value in results)
    for value in learned:
        layer.param.add(name=value.name)
    return layer


def _named(graph: OnnxGraph, name: str, value: Value) -> Value:
    """Return a value with the name of a blob: a copy if it is an input, or has another blob's name."""
    if value.name == name and value not in graph.inputs:
        return value
    copy: Value = graph.Identity(value)
    copy.name, copy.shape = name, value.shape
    return copy


class Parts(NamedTuple):
    """The layers of a net: data layers and what runs before the graph, those of the graph, and the others.

    The others only train, report or write files, or follow from such layers.
    """

    sources: list[Node]
    kept: list[Node]
    left_out: list[Node]

    @property
    def inputs(self) -> list[str]:
        """The blobs that the graph takes."""
        read = {name for node in self.kept for name in node.bottom_names}
        return list(dict.fromkeys(name for node in self.sources for name in node.top_names if name in read))


def parted(nodes: Sequence[Node], without: Collection[Layer] = ()) -> Parts:
    """Part the layers of a net. Those ``without`` which the graph is written run before it if they can, else after."""
    sources = _before(nodes, without)
    early = {id(node) for node in sources}
    kept: list[Node] = []
    left_out: list[Node] = []
    gone: set[str] = set()
    for node in nodes:
        if id(node) in early:
            continue
        only_reports = node.layer.kind == Kind.LOSS or not node.top
        if only_reports or node.layer in without or gone & set(node.bottom_names):
            left_out.append(node)
            gone |= set(node.top_names) - set(node.bottom_names)
        else:
            kept.append(node)
    while True:
        read = {name for node in left_out for name in node.bottom_names}
        for_losses = [node for node in kept if _is_split(node) and read.issuperset(node.top_names)]
        if not for_losses:
            return Parts(sources, kept, left_out)
        kept = [node for node in kept if node not in for_losses]
        left_out = [node for node in nodes if node in left_out or node in for_losses]


def _data_layers(nodes: Sequence[Node]) -> list[Node]:
    """Return the layers whose tops are data: not those that are constant, unless a net would have no other data."""
    data = [node for node in nodes if node.layer.kind == Kind.DATA and not node.bottom and not node.layer.blobs]
    return [node for node in data if not node.layer.is_constant] or data


def _before(nodes: Sequence[Node], without: Collection[Layer]) -> list[Node]:
    """Return the data layers, and the layers ``without`` which the graph is written that need nothing but these."""
    data = {id(node) for node in _data_layers(nodes)}
    reached: set[str] = set()
    early: list[Node] = []
    for node in nodes:
        is_data = id(node) in data
        if is_data or (reached.issuperset(node.bottom_names) and (_is_split(node) or node.layer in without)):
            early.append(node)
            reached |= set(node.top_names)
    needed: set[str] = set()
    sources: list[Node] = []
    for node in reversed(early):
        if not _is_split(node) or needed & set(node.top_names):
            sources.insert(0, node)
            needed |= set(node.bottom_names)
    return sources


def _outputs(parts: Parts) -> Iterator[str]:
    """Yield the blobs that no kept layer reads, by the names that the prototxt gives them."""
    _, kept, left_out = parts
    unread: dict[str, None] = {}
    for node in kept:
        for name in node.bottom_names:
            unread.pop(name, None)
        unread |= dict.fromkeys(node.top_names)
    splits = [node for node in (*kept, *left_out) if _is_split(node)]
    of_splits = {top: node.bottom_names[0] for node in splits for top in node.top_names if top != node.bottom_names[0]}
    made = {name for node in kept for name in node.top_names}
    yield from (name for name in unread if not any(name in node.bottom_names for node in left_out))
    for node in left_out:
        count = 0 if _is_split(node) else len(node.bottom)
        judged = [index for index in range(count) if node.layer.gradient_reaches(index, count)]
        for index in judged or range(min(count, 1)):  # an accuracy has no gradient at all
            name = node.bottom_names[index]
            while name in of_splits:
                name = of_splits[name]
            if name in made:
                yield name


def _is_split(node: Node) -> bool:
    return node.layer.type == "Split"


def _free_sizes(
    net: Net | Structure, kept: Sequence[Node], inputs: Sequence[str], shapes: dict[str, Sizes], free_batch: bool
) -> dict[tuple[str, int], str]:
    """Return which sizes are not fixed, with names for them.

    These are the sizes that depend on values and, with ``free_batch``, those that differ if there is one item more.
    """
    layers = []
    for name in inputs:
        param = LayerParameter(name=name, type="Input", top=[name])
        size, *others = shapes[name] or (None,)
        if size is not None:
            param.input_param.shape.add(dim=[size + free_batch, *others])
        layers.append(PlacedLayer(param))
    layers += [PlacedLayer(node.param, node.where) for node in kept]
    with muted():
        larger = Outline(layers, net.state_of_rules)
    batch = next((shapes[name][0] for name in inputs if shapes[name]), None)
    free = {}
    for name, shape in shapes.items():
        other = shape_of(larger.blobs[name])
        if other is None:  # from a user's layer, which cannot be written
            continue
        if len(other) != len(shape):
            raise NetError(f"the shape of blob {name!r} depends on the batch", hint="Export it for one size of batch")
        for axis, (size, after) in enumerate(zip(shape, other, strict=True)):
            told = isinstance(after, int)
            if not told or after != size:
                whole = told and size == batch and after == (batch or 0) + free_batch
                free[name, axis] = "N" if whole else f"{name}_{axis}"
    return free


def _together(problems: Sequence[CaffeError]) -> CaffeError:
    if len(problems) == 1:
        return problems[0]
    lines = "".join(f"\n  {problem}" for problem in problems)
    return NetError(f"{len(problems)} layers cannot be written in ONNX:{lines}")
