"""A net as a drawing shows it: its layers, the boxes that hold in-place layers, and where each blob leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..blobs.unknown import Shape, Size
from ..errors import CaffeError, Where
from ..inspection.costs import Totals, multiply_adds, totals
from ..inspection.outline import Outline, shape_of
from ..layer import Kind, Layer, layer_class
from ..net.filtering import PlacedLayer, filter_layers, placed_layers, state_of
from ..net.wiring import Node
from ..proto.caffe_pb2 import LayerParameter, NetParameter, Phase
from ..proto.parsed import Parsed
from .layout import Wire


@dataclass
class DrawnLayer:
    """A layer and the facts about it; ``shapes`` and ``cost`` are known only for a net in one state."""

    param: LayerParameter
    where: Where | None
    box: int = -1
    shapes: list[Shape | None] = field(default_factory=list)  # of its learnable blobs
    parameters: Size = 0
    cost: Size = 0
    problem: str = ""

    @property
    def kind(self) -> Kind:
        told = (layer_class(self.param.type) or Layer).kind
        if told is Kind.OTHER:
            return Kind.LOSS if self.param.type.endswith("Loss") else self.like.kind
        return told

    @cached_property
    def like(self) -> type[Layer]:
        """Class of its type or, if that is unknown, of the type that its parameters are named after."""
        given = (field.message_type for field, _ in self.param.ListFields() if field.message_type)
        names = [self.param.type, *(message.name.removesuffix("Parameter") for message in given)]
        return next(filter(None, map(layer_class, names)), Layer)


@dataclass
class DrawnBox:
    """A layer and those that run in place on its top, by their numbers, and the blobs that leave the box."""

    layers: list[int]
    tops: list[str]


@dataclass
class Picture:
    """A net to draw. ``shapes`` are those of its blobs, and are empty if the layers of every state are drawn."""

    name: str
    state: str
    layers: list[DrawnLayer]
    boxes: list[DrawnBox] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    shapes: dict[str, Shape | None] = field(default_factory=dict)
    totals: Totals | None = None
    problems: list[CaffeError] = field(default_factory=list)
    # The numbers of the layers that make a bottom and that read a top, by (layer, index of the bottom or top).
    makers: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    readers: dict[tuple[int, int], list[int]] = field(default_factory=dict)


def picture_of(
    net: Parsed[NetParameter], phase: Phase | None, level: int = 0, stages: Sequence[str] = (), look: bool = False
) -> Picture:
    """Make the picture of a net in one state or, without a phase, of the layers of all its states together.

    No net is refused: layers that are wrong are drawn together with their errors. ``look`` allows layers to look into
    their sources.
    """
    message = net.message
    placed = placed_layers(net)
    if phase is None:
        picture = Picture(message.name, "all phases", [DrawnLayer(layer.param, layer.where) for layer in placed])
    else:
        state = state_of(message, phase, level, stages)
        problems: list[CaffeError] = []
        outline = Outline(placed, state, problems.append, open_sources=look)
        picture = _known(message.name, filter_layers(placed, state, lambda error: None), outline, problems)
    _connect(picture)
    return picture


def _known(name: str, layers: list[PlacedLayer], outline: Outline, problems: list[CaffeError]) -> Picture:
    shapes = {blob_name: shape_of(blob) for blob_name, blob in outline.blobs.items()}
    state = "TRAIN" if outline.phase == Phase.Value("TRAIN") else "TEST"
    picture = Picture(name, state, [], shapes=shapes, totals=totals(outline), problems=problems)
    nodes = iter([*outline.nodes, None])
    node = next(nodes)
    for layer in layers:
        drawn = DrawnLayer(layer.param, layer.where)
        while node and _inserted(node, layer):
            node = next(nodes)
        if node and (node.name, node.layer.type) == (layer.param.name, layer.param.type):
            drawn.shapes = [shape_of(blob) for blob in node.layer.blobs]
            drawn.parameters = sum(blob.count for blob in node.layer.blobs)
            drawn.cost = multiply_adds(node)
            node = next(nodes)
        drawn.problem = " ".join(error.message for error in problems if _is_about(error, layer))
        picture.layers.append(drawn)
    return picture


def _inserted(node: Node, layer: PlacedLayer) -> bool:
    return node.layer.type == "Split" and (node.name, "Split") != (layer.param.name, layer.param.type)


def _is_about(error: CaffeError, layer: PlacedLayer) -> bool:
    return error.layer == layer.param.name and error.where == layer.where


def _connect(picture: Picture) -> None:
    """Put the layers into boxes and connect the boxes with wires."""
    ports: dict[str, list[tuple[int, int]]] = {}  # by blob: the boxes, and their ports, that make it
    owners: dict[str, list[tuple[int, int]]] = {}  # by blob: the layers that made it last, and the index of the top
    read: set[str] = set()  # blobs read by a box other than their maker's
    for number, layer in enumerate(picture.layers):
        bottoms, tops = list(layer.param.bottom), list(layer.param.top)
        for index, name in enumerate(bottoms):
            picture.makers[number, index] = [maker for maker, _ in owners.get(name, [])]
            for owner in owners.get(name, []):
                picture.readers.setdefault(owner, []).append(number)
        stands_on = _below(picture, ports, bottoms, tops) if tops == bottoms and read.isdisjoint(tops) else None
        if stands_on is not None:
            layer.box = stands_on
            picture.boxes[stands_on].layers.append(number)
        else:
            layer.box = len(picture.boxes)
            picture.boxes.append(DrawnBox([number], tops))
            picture.wires += [Wire(*port, layer.box) for name in bottoms for port in ports.get(name, [])]
            read.update(bottoms)
        for index, name in enumerate(tops):
            if name not in bottoms and picture.state == "all phases" and name not in read:
                # TRAIN and TEST make the same blob in different layers
                owners.setdefault(name, []).append((number, index))
                ports.setdefault(name, []).append((layer.box, index))
                continue
            owners[name] = [(number, index)]
            if stands_on is None:
                ports[name] = [(layer.box, index)]
                read.discard(name)


def _below(
    picture: Picture, ports: dict[str, list[tuple[int, int]]], bottoms: list[str], tops: list[str]
) -> int | None:
    """Return the box that a layer in place joins, because its bottom is the box's only top; else None."""
    if len(bottoms) != 1 or len(ports.get(bottoms[0], [])) != 1:
        return None
    box = ports[bottoms[0]][0][0]
    return box if picture.boxes[box].tops == tops else None
