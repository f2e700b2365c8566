"""Net: layers chained by the names of their blobs, run forward and backward (original: net.cpp)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from . import debug_info
from .blob import Blob
from .compiled import LEAVE_OUT, CompiledPass, compile_wanted
from .errors import CaffeError, EngineError, NetError, Where
from .io import array_to_blobproto
from .loading import LoadReport, load
from .log import logger
from .net_param import PlacedLayer, layers_in_state, state_of
from .ops import get_ops
from .ops.base import Array
from .proto import caffe_pb2
from .proto.prototxt import Parsed, read_net, to_text
from .proto.upgrade import upgrade_net
from .pycaffe import Callbacks, PycaffeNet
from .random import new_generator
from .weights import LayerWeights, read_weights, require_protobuf_size, write_hdf5, write_message
from .wiring import Node, Param, Wiring

__all__ = ["TEST", "TRAIN", "Net", "Node", "Param"]

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


class Net(PycaffeNet):
    """A net in one phase, on one engine.

    Args:
        network: a prototxt's path, what ``read_net`` gave for one, or a NetParameter.
        phase: TRAIN or TEST.
        weights: a .caffemodel or .caffemodel.h5, or several joined by commas, loaded by layer name.
        level, stages: the rest of the NetState that include and exclude rules see.
        engine: "numpy", ...; without one that of ``set_engine`` or CAFFE_LITE_ENGINE.
        dtype: "float32", or "float64" to check gradients.
        compile: with torch: whole forward passes in TEST, a solver's forward and backward passes in TRAIN, which keep
            outputs, losses and parameters only. Without a word CAFFE_LITE_COMPILE=1 asks for it.
        seed: of everything random in the net; without one that of ``set_random_seed``, else a fresh one.

    pycaffe's old order ``Net(network, weights, phase)`` works too. Errors name the layer and its place in the file.
    """

    def __init__(
        self,
        network: str | os.PathLike[str] | caffe_pb2.NetParameter | Parsed[caffe_pb2.NetParameter],
        phase: int | str = TEST,
        weights: str | os.PathLike[str] | int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        *,
        engine: str | None = None,
        dtype: str = "float32",
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        if isinstance(weights, int):
            phase, weights = weights, cast(str, phase)
        if phase not in (TRAIN, TEST):
            raise NetError(f"phase {phase!r} is neither TRAIN (0) nor TEST (1)")
        self.phase = TRAIN if phase == TRAIN else TEST
        self.ops = get_ops(engine, dtype)
        self.rng = new_generator(seed)
        wiring = Wiring(self.phase, self.ops, self.rng)
        self.nodes, self.learnable_params, self.inputs = wiring.nodes, wiring.params, wiring.inputs
        self._blob = wiring.blobs
        param, where = _parameter_of(network)
        self.name = param.name
        self.debug_info: bool = param.debug_info
        self.callbacks = Callbacks()
        param.state.CopyFrom(state_of(param, self.phase, level, stages or ()))
        self.state_of_rules = param.state
        placed = [PlacedLayer(layer, at) for layer, at in zip(param.layer, where, strict=True)]
        placed = layers_in_state(placed, param.state)
        del param.layer[:]
        param.layer.extend(layer.param for layer in placed)
        logger.info("Initializing net from parameters: \n%s", to_text(param))
        self._compiled: CompiledPass | None = None
        self._retained = True
        try:
            self._build(wiring, placed, param.force_backward)
            if compile_wanted(compile):
                self._compiled = CompiledPass(self, backward=self.phase == TRAIN)
        except BaseException:
            self.close()
            raise
        if weights:
            self.copy_from(weights)

    # -- building ----------------------------------------------------------------------------------------------------

    def _build(self, wiring: Wiring, placed: list[PlacedLayer], force_backward: bool) -> None:
        for layer in placed:
            wiring.add(layer)
        self._prune_backward()
        if force_backward:
            self._force_backward()
        from .fusion import Fusion  # it imports layers, which `import caffe_lite` leaves for later

        self.fusion = Fusion(self.nodes, self.ops)
        self.outputs = sorted(wiring.unread)
        for blob_name in self.outputs:
            logger.info("This network produces output %s", blob_name)
        logger.info("Network initialization done.")

    def _prune_backward(self) -> None:
        """Ask no gradient of layers that lead to no loss, and none below the point where nobody reads it."""
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

    # -- running -----------------------------------------------------------------------------------------------------

    def forward_pass(self, start: int = 0, end: int | None = None, read: Sequence[str] = ()) -> Array:
        """Run the nodes from ``start`` to ``end``, both included; the sum of their weighted losses, on the engine.

        ``read`` names blobs beside the outputs that will be read afterwards; a compiled pass might not keep them.
        """
        whole = start == 0 and end in (None, len(self.nodes) - 1)
        compiled = self._compiled
        serves = whole and compiled and not (compiled.backward or self._watched)
        if compiled and serves and all(compiled.keeps(self._blob[name]) for name in read):
            self._retained = False
            return compiled()
        self._retained = self._retained or whole
        return self.run_forward(start, end)

    def backward_pass(self, start: int | None = None, end: int = 0) -> None:
        """Run the nodes from ``start`` (the last) back to ``end``, both included; parameters' diffs accumulate."""
        if not self._retained:
            raise EngineError(
                "there is nothing for a backward pass: the last forward pass was compiled, and keeps outputs only",
                hint=f"run the net forward once more (a net for TRAIN), or {LEAVE_OUT}",
            )
        self.run_backward(start, end)

    def forward_backward_pass(self) -> Array:
        """Run the whole net forward and backward; the sum of its weighted losses, on the engine."""
        if self._compiled and self._compiled.backward and not self._watched:
            self._retained = False
            return self._compiled()
        loss = self.forward_pass()
        self.backward_pass()
        return loss

    @property
    def compile(self) -> bool:
        """Whether whole passes are compiled: forward in TEST, forward and backward in TRAIN."""
        return self._compiled is not None

    def recompute(self) -> None:
        """Make every blob readable after a compiled pass: run its layers again over the same data."""
        if self._compiled and not self._retained:
            self._compiled.rerun()

    def run_forward(self, start: int = 0, end: int | None = None) -> Array:
        """``forward_pass``, layer by layer."""
        loss: Any = 0.0
        self._take_back()
        try:
            with self.ops.quiet():
                for index, step in enumerate(self.fusion.steps(start, end, self._one_by_one), start):
                    self.callbacks.call("before_forward", index)
                    node = step.nodes[-1]
                    step.reshape()
                    step.forward()
                    for blob, weight in zip(node.top, node.loss_weights, strict=True):
                        if weight:
                            loss = loss + weight * self.ops.sum(blob.data)
                    if self.debug_info:
                        debug_info.log_forward(node)
                    self.callbacks.call("after_forward", index)
        except CaffeError as error:
            raise error.located(node.where, node.name, node.layer.type) from error.__cause__
        except (MemoryError, RuntimeError) as error:
            if self.ops.ran_out_of_memory(error):
                raise node.out_of_memory() from None
            raise
        return self.ops.scalar(loss)

    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """``backward_pass``, layer by layer."""
        self._take_back()
        try:
            with self.ops.quiet():
                for index, step in reversed(list(enumerate(self.fusion.steps(end, start, self._one_by_one), end))):
                    node = step.nodes[0]
                    self.callbacks.call("before_backward", index)
                    step.backward()
                    if self.debug_info and node.need_backward:
                        debug_info.log_backward(node)
                    self.callbacks.call("after_backward", index)
        except CaffeError as error:
            raise error.located(node.where, node.name, node.layer.type) from error.__cause__
        except (MemoryError, RuntimeError) as error:
            if self.ops.ran_out_of_memory(error):
                raise node.out_of_memory() from None
            raise
        if self.debug_info:
            debug_info.log_params(self.learnable_params)

    def _take_back(self) -> None:
        """Let the engine see whatever users have written into blobs."""
        if not self.ops.shares_memory:
            for blob in self._blob.values():
                blob.take_back()

    @property
    def _one_by_one(self) -> bool:
        return self._watched or self.ops.tracer is not None

    @property
    def _watched(self) -> bool:
        """Whether somebody wants to see every layer run."""
        return self.debug_info or bool(self.callbacks)

    def clear_param_diffs(self) -> None:
        for param in self.learnable_params:
            param.blob.clear_diff()

    def reshape(self) -> None:
        """Give every blob the shape that follows from the inputs' shapes."""
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
        raise NetError(
            f"the net has no layer {layer_name!r}", hint=f"its layers: {', '.join(n.name for n in self.nodes)}"
        )

    # -- parameters, in and out --------------------------------------------------------------------------------------

    def copy_from(self, weights: str | os.PathLike[str]) -> LoadReport:
        """Load parameters by layer name from one file or several joined by commas; tells what became of each layer.

        Layers of the file that the net lacks are ignored, layers of the net that the file lacks keep what they have.
        Nothing is changed if something does not fit: another number of blobs, or shapes that differ in more than
        leading 1s.
        """
        files = [file.strip() for file in os.fspath(weights).split(",")]
        return load(self, [(file, read_weights(file)) for file in files])

    def share_with(self, other: Net) -> None:
        """Use the other net's parameters, by layer name, as the original's test nets use the train net's."""
        sources = {node.name: node for node in other.nodes}
        taken: dict[int, Blob] = {}
        for node in self.nodes:
            source = sources.get(node.name)
            if source is None:
                continue
            if len(source.layer.blobs) != len(node.layer.blobs):
                raise node.error(
                    f"it has {len(node.layer.blobs)} blobs, in the other net {len(source.layer.blobs)}",
                    "make both layers alike",
                )
            for index, (mine, theirs) in enumerate(zip(node.layer.blobs, source.layer.blobs, strict=True)):
                if mine.shape != theirs.shape:
                    raise node.error(
                        f"cannot share param {index}: its shape is {mine.shape}, in the other net {theirs.shape}",
                        "make both layers alike",
                    )
                taken[id(mine)] = theirs
            node.layer.blobs[:] = source.layer.blobs
        for param in self.learnable_params:
            param.blob = taken.get(id(param.blob), param.blob)
        if self._compiled:
            self._compiled.changed = True

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.NetParameter:
        """The net as the original stores it: every layer's parameters, with the learned blobs."""
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

    def load_hdf5(self, path: str | os.PathLike[str]) -> LoadReport:
        return self.copy_from(path)

    # -- state beyond the parameters ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What a snapshot must hold beside the parameters for the net to go on as if never stopped; JSON."""
        layers = {node.name: node.layer.state() for node in self.nodes}
        return {
            "rng": self.rng.bit_generator.state,
            "layers": {name: state for name, state in layers.items() if state is not None},
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        for node in self.nodes:
            if node.name in state["layers"]:
                node.layer.restore_state(state["layers"][node.name])


def _parameter_of(network: Any) -> tuple[caffe_pb2.NetParameter, Sequence[Where | None]]:
    """A NetParameter of our own to change, and the place of each of its layers."""
    if isinstance(network, (str, os.PathLike)):
        network = read_net(network)
    param = caffe_pb2.NetParameter()
    if isinstance(network, Parsed):
        param.CopyFrom(network.message)
        return param, network.layers
    param.CopyFrom(network)
    upgrade_net(Parsed(param))
    return param, [None] * len(param.layer)
