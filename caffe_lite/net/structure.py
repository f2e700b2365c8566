"""The structure of a net: layers chained by the names of their blobs, and writing them to files (original: net.cpp)."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

import numpy as np

from ..blobs import Blob
from ..errors import ArgumentError, UnknownName
from ..logs.log import logger
from ..ops import Ops, get_ops
from ..ops.array import Array
from ..proto import caffe_pb2
from ..proto.arrays import array_to_blobproto
from ..proto.fork_fields import warn_of_idle_fields
from ..proto.parsed import Parsed
from ..proto.prototxt import read_net, to_text
from ..proto.upgrade import upgrade_net
from .filtering import PlacedLayer, layers_in_state, placed_layers, state_of
from .random import new_generator
from .weights import LayerWeights, require_protobuf_size, write_hdf5, write_message
from .wiring import Node, Wiring


class Structure:
    """The nodes of a net and their parameters. Its ``Graph`` runs them. For the arguments see ``caffe_lite.Net``.

    Attributes:
        nodes: a Node for each layer, in the order of execution.
        learnable_params: a Param for each learnable blob, once even if layers share it.
        inputs, outputs: the names of the blobs to fill, and of the blobs that no layer reads.
    """

    def __init__(
        self,
        network: str | os.PathLike[str] | caffe_pb2.NetParameter | Parsed[caffe_pb2.NetParameter],
        phase: int,
        level: SupportsIndex,
        stages: Sequence[str] | None,
        *,
        engine: str | Ops[Array] | None,
        dtype: str | None,
        device: str | int | None,
        seed: int | None,
    ) -> None:
        if phase not in (caffe_pb2.TRAIN, caffe_pb2.TEST):
            raise ArgumentError(f"phase {phase!r} is neither TRAIN (0) nor TEST (1)")
        self.phase = caffe_pb2.TRAIN if phase == caffe_pb2.TRAIN else caffe_pb2.TEST
        self.ops = get_ops(engine, dtype, device)
        self.rng = new_generator(seed)
        wiring = Wiring(self.phase, self.ops, self.rng)
        self.nodes, self.learnable_params, self.inputs = wiring.nodes, wiring.params, wiring.inputs
        self._blob = wiring.blobs
        param, placed = _parameter_of(network)
        self.name = param.name
        self.debug_info: bool = param.debug_info
        param.state.CopyFrom(state_of(param, self.phase, operator.index(level), stages or ()))
        self.state_of_rules = param.state
        placed = layers_in_state(placed, param.state)
        del param.layer[:]
        param.layer.extend(layer.param for layer in placed)
        logger.info("Initializing net from parameters: \n%s", to_text(param))
        warn_of_idle_fields(param)
        try:
            self._build(wiring, placed, param.force_backward)
        except BaseException:
            self.close()
            raise

    def _build(self, wiring: Wiring, placed: list[PlacedLayer], force_backward: bool) -> None:
        for layer in placed:
            wiring.add(layer)
        self._prune_backward()
        if force_backward:
            self._force_backward()
        self.outputs = sorted(wiring.unread)
        for blob_name in self.outputs:
            logger.info("This network produces output %s", blob_name)
        logger.info("Network initialization done.")

    def _prune_backward(self) -> None:
        """Skip the gradients of layers that lead to no loss, and of layers whose tops get no gradient."""
        under_loss: set[str] = set()
        skipped: set[str] = set()
        for node in reversed(self.nodes):
            contributes = any(node.loss_weights) or not under_loss.isdisjoint(node.top_names)
            wanted = not skipped.issuperset(node.top_names)
            node.need_backward = node.need_backward and contributes and wanted
            if not node.need_backward:
                node.bottom_need_backward = [False] * len(node.bottom)
            verb = "needs" if node.need_backward else "does not need"
            logger.info("%s %s backward computation.", node.name, verb)
            for name, needed in zip(node.bottom_names, node.bottom_need_backward, strict=True):
                if contributes:
                    under_loss.add(name)
                if not needed:
                    skipped.add(name)

    def _force_backward(self) -> None:
        for node in self.nodes:
            node.need_backward = True
            count = len(node.bottom)
            node.bottom_need_backward = [
                needed or node.layer.gradient_reaches(i, count) for i, needed in enumerate(node.bottom_need_backward)
            ]
            node.layer.param_propagate_down = [True] * len(node.layer.blobs)

    def clear_param_diffs(self) -> None:
        for param in self.learnable_params:
            param.blob.clear_diff()

    def reshape(self) -> None:
        """Give every blob the shape that follows from the shapes of the inputs."""
        for node in self.nodes:
            node.reshape()

    def close(self) -> None:
        """Stop the threads and close the files of data layers."""
        for node in self.nodes:
            node.layer.close()

    @property
    def output_blobs(self) -> list[tuple[str, Blob, float]]:
        """Name, blob and loss weight of each output, in the order of ``outputs``."""
        weights = {n: w for node in self.nodes for n, w in zip(node.top_names, node.loss_weights, strict=True)}
        return [(name, self._blob[name], weights[name]) for name in self.outputs]

    def node(self, layer_name: str) -> Node:
        for node in self.nodes:
            if node.name == layer_name:
                return node
        raise UnknownName(
            f"the net has no layer {layer_name!r}", hint=f"its layers: {', '.join(n.name for n in self.nodes)}"
        )

    # -- to files ------------------------------------------------------------------------------------------------------

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.NetParameter:
        """Return the net as the original stores it: every layer's parameters, with the learned blobs."""
        net = caffe_pb2.NetParameter(name=self.name)
        for node in self.nodes:
            layer = net.layer.add()
            layer.CopyFrom(node.param)
            del layer.blobs[:]
            for blob in node.layer.blobs:
                diff = self.ops.host_view(blob.diff) if write_diff else None
                layer.blobs.append(array_to_blobproto(self.ops.host_view(blob.data), diff))
        return net

    def save(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write a .caffemodel."""
        count = sum(blob.count for node in self.nodes for blob in node.layer.blobs)
        require_protobuf_size(path, 4 * count * (2 if write_diff else 1))
        write_message(path, self.to_proto(write_diff))

    def save_hdf5(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write a .caffemodel.h5; parameters that layers share are written once, with their owner."""
        owned = {(param.owner.name, param.index) for param in self.learnable_params}
        view = self.ops.host_view

        def stored(node: Node, arrays: list[Array]) -> list[np.ndarray | None]:
            return [view(array) if (node.name, i) in owned else None for i, array in enumerate(arrays)]

        layers = []
        for node in self.nodes:
            blobs = node.layer.blobs
            diffs = stored(node, [blob.diff for blob in blobs]) if write_diff else []
            layers.append(LayerWeights(node.name, node.layer.type, stored(node, [blob.data for blob in blobs]), diffs))
        write_hdf5(path, layers)

    # -- state beyond the parameters ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return, for JSON, what a snapshot needs besides the parameters to go on as if the net had never stopped."""
        states = [(*place, node.layer.state()) for place, node in self._occurrences()]
        return {"rng": self.rng.bit_generator.state, "layers": [state for state in states if state[-1] is not None]}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        stored = state["layers"]
        if isinstance(stored, dict):  # written when the layers of one name had one state
            stored = [(name, 0, one) for name, one in stored.items()]
        states = {(name, occurrence): one for name, occurrence, one in stored}
        for place, node in self._occurrences():
            if place in states:
                node.layer.restore_state(states[place])

    def _occurrences(self) -> Iterator[tuple[tuple[str, int], Node]]:
        """Yield each layer with its name and the number of layers before it that have the same name."""
        met: Counter[str] = Counter()
        for node in self.nodes:
            yield (node.name, met[node.name]), node
            met[node.name] += 1


def _parameter_of(
    network: str | os.PathLike[str] | Parsed[caffe_pb2.NetParameter] | caffe_pb2.NetParameter,
) -> tuple[caffe_pb2.NetParameter, list[PlacedLayer]]:
    """Return a copy of the NetParameter, which may be changed, and its layers with their places."""
    if isinstance(network, (str, os.PathLike)):
        network = read_net(network)
    param = caffe_pb2.NetParameter()
    if isinstance(network, Parsed):
        param.CopyFrom(network.message)
        return param, placed_layers(replace(network, message=param))
    param.CopyFrom(network)
    upgrade_net(Parsed(param))
    return param, [PlacedLayer(layer) for layer in param.layer]
