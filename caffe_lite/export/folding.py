"""Folding: normalisations and scales become part of the weights before them; layers that do nothing in TEST go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..agreement.comparing import Comparison, compare, run
from ..net.wiring import Node
from ..ops.roles import ChannelMap, Identity, LearnedChannelMap, Linear, combined
from ..proto.arrays import array_to_blobproto, array_to_half_blobproto, blobproto_to_array
from ..proto.caffe_pb2 import TEST, LayerParameter, NetParameter
from ..pycaffe.net import Net

Version = tuple[int, int]  # what a layer makes: its place in the net, and the index of the top


@dataclass
class Folding:
    """A folded net, with its weights as blobs of its layers, and the layers that are gone."""

    net: NetParameter
    gone: list[LayerParameter] = field(default_factory=list)


def fold(net: Net) -> Folding:
    """Fold a net that is in TEST.

    The weights of a convolution, deconvolution or inner product take in every BatchNorm, BN, Scale and Bias after it
    that nothing else reads; those without such a layer before them become one Scale. Dropout and Split go. A layer that
    shares its parameters by name stays as it is.
    """
    folder = _Folder(net.nodes)
    folder.fold_rows()
    folder.drop_identities()
    folded = NetParameter(name=net.name or None)
    folded.layer.extend(layer for place, layer in enumerate(folder.layers) if place not in folder.gone)
    gone = [folder.layers[place] for place in sorted(folder.gone) if not _was_inserted(folder.nodes[place])]
    return Folding(folded, gone)


def _was_inserted(node: Node) -> bool:
    """Return whether the net itself inserted this layer, a Split, as its name tells."""
    return node.layer.type == "Split" and all(top.startswith(f"{node.name}_") for top in node.top_names)


def net_of(folding: Folding, net: Net) -> Net:
    """Return the net that another was folded to, with its weights, on the same engine."""
    rules = net.state_of_rules
    state = {"level": rules.level, "stages": list(rules.stage)}
    folded = Net(without_weights(folding.net), TEST, engine=net.ops, seed=0, compile=False, **state)
    for layer in folding.net.layer:
        for blob, stored in zip(folded.params.get(layer.name, ()), layer.blobs, strict=True):
            blob.data[...] = blobproto_to_array(stored)
    places = {node.name: node.where for node in net.nodes}
    for node in folded.nodes:
        node.where = node.layer.where = places.get(node.name)
    for name in net.inputs:
        folded.blobs[name].reshape(*net.blobs[name].data.shape)
    for name in (name for node in net.nodes if node.layer.is_constant for name in node.top_names):
        folded.blobs[name].data[...] = net.blobs[name].data
    folded.reshape()
    return folded


def verified(net: Net, folding: Folding) -> list[Comparison]:
    """Return the largest gaps between the outputs of a net and of what it was folded to; raise if one is too large."""
    folded = net_of(folding, net)
    return compare(net, net.inputs, net.outputs, lambda fed: run(folded, fed))


def without_weights(net: NetParameter) -> NetParameter:
    """Return a net as it stands in a prototxt."""
    text = NetParameter()
    text.CopyFrom(net)
    for layer in text.layer:
        del layer.blobs[:]
    return text


def halve(net: NetParameter) -> None:
    """Store the weights in half precision, as NVIDIA's fork does."""
    for layer in net.layer:
        for blob in layer.blobs:
            blob.CopyFrom(array_to_half_blobproto(blobproto_to_array(blob)))


class _Folder:
    """Changes the layers of a net; ``gone`` has the places of those that it no longer needs."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.layers: list[LayerParameter] = []
        for node in nodes:
            layer = LayerParameter()
            layer.CopyFrom(node.param)
            for name in ("phase", "include", "exclude"):
                layer.ClearField(name)
            del layer.blobs[:]
            layer.blobs.extend(array_to_blobproto(node.layer.ops.host_view(blob.data)) for blob in node.layer.blobs)
            self.layers.append(layer)
        names = Counter(spec.name for layer in self.layers for spec in layer.param if spec.name)
        self.shared = {name for name, count in names.items() if count > 1}
        self.gone: set[int] = set()
        self.readers: dict[Version, list[tuple[int, int]]] = {}  # the places and bottoms that read it
        made: dict[str, Version] = {}
        for place, layer in enumerate(self.layers):
            for index, name in enumerate(layer.bottom):
                self.readers.setdefault(made[name], []).append((place, index))
            made |= {name: (place, index) for index, name in enumerate(layer.top)}

    def role(self, place: int) -> object:
        node = self.nodes[place]
        return None if any(node.loss_weights) else node.layer.role(node.bottom, node.top)

    def fold_rows(self) -> None:
        for place in range(len(self.layers)):
            row = [] if place in self.gone else self._row(place)
            learned = isinstance(self.role(place), Linear | LearnedChannelMap)
            if len(row) > 1 or (row and not learned):
                self._fold(row)

    def _row(self, head: int) -> list[int]:
        """Return the places of a layer and of those after it that its weights can take in."""
        role, layer = self.role(head), self.layers[head]
        linear = isinstance(role, Linear) and role.along_channels
        if (
            not (linear or isinstance(role, ChannelMap))
            or len(layer.bottom) != 1
            or any(spec.name in self.shared for spec in layer.param)
        ):
            return []
        row = [head]
        while len(readers := self.readers.get((row[-1], 0), [])) == 1:
            place = readers[0][0]
            one_to_one = len(self.layers[place].bottom) == len(self.layers[place].top) == 1
            if not one_to_one or not isinstance(self.role(place), ChannelMap | Identity):
                break
            row.append(place)
        return row

    def _fold(self, row: Sequence[int]) -> None:
        head, *rest = row
        layer, ops = self.layers[head], self.nodes[head].layer.ops
        (name,) = self.layers[row[-1]].top
        first, *roles = (self.role(place) for place in row)
        if isinstance(first, Linear):
            weight, bias = first.weight_and_bias()
            factor, shift = combined(roles, bias)
            if layer.HasField("inner_product_param"):  # the role's weights have a row for each output
                layer.inner_product_param.ClearField("transpose")
            if factor is not None:
                weight = ops.scale_outputs(weight, factor, first.transposed_groups)
            if shift is not None:
                self._learn_a_bias(layer)
        else:
            factor, shift = combined([first, *roles], None)
            weight = ops.full(self.nodes[head].bottom[0].shape[1:2], 1.0) if factor is None else factor
            layer = self.layers[head] = LayerParameter(name=layer.name, type="Scale", bottom=layer.bottom)
            layer.scale_param.bias_term = shift is not None
        del layer.top[:], layer.blobs[:]
        layer.top.append(name)
        learned = [weight] if shift is None else [weight, shift]
        layer.blobs.extend(array_to_blobproto(ops.host_view(array)) for array in learned)
        self.readers[head, 0] = self.readers.pop((row[-1], 0), [])
        self.gone.update(rest)

    @staticmethod
    def _learn_a_bias(layer: LayerParameter) -> None:
        for param in ("convolution_param", "inner_product_param"):
            if layer.HasField(param):
                getattr(layer, param).ClearField("bias_term")

    def drop_identities(self) -> None:
        for place, layer in enumerate(self.layers):
            if place in self.gone or not isinstance(self.role(place), Identity):
                continue
            readers = [reader for index in range(len(layer.top)) for reader in self.readers.get((place, index), [])]
            (name,) = layer.bottom
            renamed = any(top != name for top in layer.top)
            is_output = any(not self.readers.get((place, index)) for index in range(len(layer.top)))
            if renamed and is_output:
                continue
            for reader, index in readers:
                self.layers[reader].bottom[index] = name
            self.gone.add(place)
