"""Layers that ONNX says in several operations: a model that was exported from a net names them, and they come back."""

from __future__ import annotations

from typing import Any

from ..onnx_graph import LAYERS
from ..proto.arrays import array_to_blobproto
from ..proto.caffe_pb2 import LayerParameter, NetParameter
from ..proto.parser import parse_text
from ..pycaffe.net import Net
from .graph import Graph, Node, Shape
from .targets import Target

DOMAIN = "caffe_lite"


def restore(graph: Graph, model: Any, target: Target) -> None:
    """Put the layers that a model's metadata names, if the target has them, in the place of their operations."""
    constants = graph.constants
    graph.drop_unread()
    graph.constants = constants  # the layers read some that their operations do not
    for note in model.metadata_props:
        if note.key == LAYERS:
            for layer in parse_text(note.value, NetParameter).message.layer:
                if target.has([layer.type]):
                    _restore(graph, layer)


def shapes_of(node: Node, bottoms: list[Shape]) -> list[Shape]:
    """Return the shapes of the tops of a layer."""
    assert node.layer
    net = NetParameter()
    for name, shape in dict(zip(node.inputs, bottoms, strict=True)).items():
        made = net.layer.add(name=name, type="Input", top=[name])
        made.input_param.shape.add(dim=shape)
    net.layer.add().CopyFrom(node.layer)
    made_net = Net(net, engine="numpy", compile=False)
    return [made_net.blobs[name].data.shape for name in node.outputs]


def _restore(graph: Graph, layer: LayerParameter) -> None:
    if not all(param.name in graph.constants for param in layer.param):
        return
    nodes = _between(graph, layer)
    inside = {id(node) for node in nodes}
    made = {name for node in nodes for name in node.outputs} - set(layer.top)
    read_elsewhere = any(made & set(node.inputs) for node in graph.nodes if id(node) not in inside)
    if not nodes or read_elsewhere or made & set(graph.outputs):
        return  # somebody has changed the model
    place = max(graph.nodes.index(node) for node in nodes)
    layer.blobs.extend(array_to_blobproto(graph.constants[param.name]) for param in layer.param)
    layer.ClearField("param")
    whole = Node(layer.name, layer.type, list(layer.bottom), list(layer.top), domain=DOMAIN, layer=layer)
    graph.nodes = [
        whole if index == place else node
        for index, node in enumerate(graph.nodes)
        if index == place or id(node) not in inside
    ]
    graph.opsets[DOMAIN] = 1
    graph.index()


def _between(graph: Graph, layer: LayerParameter) -> list[Node]:
    """Return the nodes that compute a layer's tops from its bottoms; none if they need anything else."""
    found: dict[int, Node] = {}
    wanted = list(layer.top)
    while wanted:
        name = wanted.pop()
        node = graph.makers.get(name)
        if name in layer.bottom or name in graph.constants or not name:
            continue
        if node is None:
            return []
        if id(node) not in found:
            found[id(node)] = node
            wanted += node.inputs
    return list(found.values())
