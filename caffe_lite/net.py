"""Net: layers chained by the names of their blobs, run forward and backward (original: net.cpp)."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import ref

import numpy as np

from . import debug_info, passes
from .blob import Blob
from .compiled import CompiledPass, compile_wanted
from .errors import ArgumentError, CaffeError, EngineError, UnknownName, Where
from .io import array_to_blobproto
from .loading import LoadReport, load
from .log import logger
from .net_param import PlacedLayer, layers_in_state, state_of
from .ops import Ops, get_ops
from .ops.base import LEAVE_OUT, Array, Program
from .proto import caffe_pb2
from .proto.parsed import Parsed
from .proto.prototxt import read_net, to_text
from .proto.upgrade import upgrade_net
from .pycaffe import Callbacks, PycaffeNet
from .random import new_generator
from .weights import LayerWeights, read_weights, require_protobuf_size, weights_files, write_hdf5, write_message
from .wiring import Node, Param, Wiring, by_name, shared_blob

if TYPE_CHECKING:
    from .fusion import Run

__all__ = ["TEST", "TRAIN", "Graph", "Net", "Node", "Param"]

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST

_phase_in_force: int = TEST


def set_phase_train() -> None:
    """Let nets that are made from now on without a phase be for TRAIN, as scripts of 2014 ask."""
    global _phase_in_force
    _phase_in_force = TRAIN


def set_phase_test() -> None:
    """Let nets that are made from now on without a phase be for TEST, as they are without a word."""
    global _phase_in_force
    _phase_in_force = TEST


class Net(PycaffeNet):
    """A net in one phase, on one engine.

    Args:
        network_file: a prototxt's path, what ``read_net`` gave for one, or a NetParameter.
        phase: TRAIN or TEST; without a word TEST, unless ``set_phase_train`` was called.
        level, stages: the rest of the NetState that include and exclude rules see.
        weights: a .caffemodel or .caffemodel.h5, or several joined by commas, loaded by layer name.
        engine: "numpy", ..., or an engine's operations; without one that of ``set_engine`` or CAFFE_LITE_ENGINE.
        dtype: "float32", which is the default, or "float64" to check gradients.
        device: "cpu", "cuda:0" or a GPU's number; without one what ``set_mode_gpu`` and ``set_device`` say.
        compile: with torch: whole forward passes in TEST, a solver's forward and backward passes in TRAIN, which keep
            outputs, losses and parameters only. Without a word CAFFE_LITE_COMPILE=1 asks for it.
        seed: of everything random in the net; without one that of ``set_random_seed``, else a fresh one.

    pycaffe's old orders ``Net(network_file, weights, phase)`` and ``Net(network_file, weights)`` work too. Errors name
    the layer and its place in the file.

    What runs is its ``Graph``. A class derived from Net may give its objects attributes of any name: the graph does not
    look at them, and what the net does not have itself it takes from the graph (``net.name``, ``net.nodes``).
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str] | caffe_pb2.NetParameter | Parsed[caffe_pb2.NetParameter],
        phase: int | str | os.PathLike[str] | None = None,
        level: int | None = None,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        engine: str | Ops | None = None,
        dtype: str | None = None,
        device: str | int | None = None,
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        if isinstance(phase, (str, os.PathLike)):
            if weights is not None:
                raise ArgumentError(f"phase is {os.fspath(phase)!r}", hint="it is caffe.TRAIN or caffe.TEST")
            weights, phase, level = phase, level, None
        phase = _phase_in_force if phase is None else phase
        level = 0 if level is None else level
        if not isinstance(level, SupportsIndex):
            raise ArgumentError(f"level is {level!r}, not a number", hint="give weights by name: weights=file")
        if not isinstance(weights, (str, os.PathLike, type(None))):
            raise ArgumentError(f"weights is {weights!r}", hint="it is the path of a file")
        if isinstance(stages, str) or not all(isinstance(stage, str) for stage in stages or ()):
            raise ArgumentError(f"stages is {stages!r}", hint="it is a list of names, as in ['deploy']")
        self._caffe_graph = Graph(
            network_file, phase, level, stages, engine=engine, dtype=dtype, device=device, seed=seed, compile=compile
        )
        if weights is not None:
            self._caffe_graph.copy_from(weights)


class Graph:
    """The nodes of a net, with all that runs them, and their parameters' way in and out. ``Net`` has the arguments."""

    def __init__(
        self,
        network: str | os.PathLike[str] | caffe_pb2.NetParameter | Parsed[caffe_pb2.NetParameter],
        phase: int,
        level: SupportsIndex,
        stages: Sequence[str] | None,
        *,
        engine: str | Ops | None,
        dtype: str | None,
        device: str | int | None,
        seed: int | None,
        compile: bool | None,
    ) -> None:
        if phase not in (TRAIN, TEST):
            raise ArgumentError(f"phase {phase!r} is neither TRAIN (0) nor TEST (1)")
        self.phase = TRAIN if phase == TRAIN else TEST
        self.ops = get_ops(engine, dtype, device)
        self.rng = new_generator(seed)
        wiring = Wiring(self.phase, self.ops, self.rng)
        self.nodes, self.learnable_params, self.inputs = wiring.nodes, wiring.params, wiring.inputs
        self._blob = wiring.blobs
        param, where = _parameter_of(network)
        self.name = param.name
        self.debug_info: bool = param.debug_info
        self.callbacks = Callbacks()
        param.state.CopyFrom(state_of(param, self.phase, operator.index(level), stages or ()))
        self.state_of_rules = param.state
        placed = [PlacedLayer(layer, at) for layer, at in zip(param.layer, where, strict=True)]
        placed = layers_in_state(placed, param.state)
        del param.layer[:]
        param.layer.extend(layer.param for layer in placed)
        logger.info("Initializing net from parameters: \n%s", to_text(param))
        self._program: Program | None = None
        self._retained = True
        try:
            self._build(wiring, placed, param.force_backward)
            self._program = self.ops.program(self)
            if self._program is None and compile_wanted(compile):
                self._program = CompiledPass(self, backward=self.phase == TRAIN)
        except BaseException:
            self.close()
            raise

    # -- building ----------------------------------------------------------------------------------------------------

    def _build(self, wiring: Wiring, placed: list[PlacedLayer], force_backward: bool) -> None:
        for layer in placed:
            wiring.add(layer)
        self._prune_backward()
        if force_backward:
            self._force_backward()
        from .fusion import Fusion  # it imports layers, which `import caffe_lite` leaves for later

        self.fusion = Fusion(self.nodes, self.ops)
        shown = [node.layer.shown() for node in self.nodes]
        self.shown_layers, self.blob_vecs = [layer for layer, _ in shown], [blobs for _, blobs in shown]
        for index, blobs in enumerate(self.blob_vecs):
            blobs.replaced = _hearing(self, index)
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
        compiled = self._program
        able = whole and compiled and not (compiled.backward or self._watched)
        if compiled and able and compiled.serves(self._blob[name] for name in read):
            self._retained = False
            return compiled()
        self._retained = self._retained or whole
        return self.run_forward(start, end)

    def backward_pass(self, start: int | None = None, end: int = 0) -> None:
        """Run the nodes from ``start`` (the last) back to ``end``, both included; parameters' diffs accumulate.

        See ``backward`` for nodes that have not run forward.
        """
        if not self._retained:
            raise EngineError(
                "there is nothing for a backward pass: the last forward pass was compiled, and keeps outputs only",
                hint=f"run the net forward once more (a net for TRAIN), or {LEAVE_OUT}",
            )
        self.run_backward(start, end)

    def forward_backward_pass(self) -> Array:
        """Run the whole net forward and backward; the sum of its weighted losses, on the engine."""
        compiled = self._program
        if compiled and compiled.backward and not self._watched and compiled.serves():
            self._retained = False
            return compiled()
        loss = self.forward_pass()
        self._backward_over(self.fusion.steps(0, None, self._one_by_one), 0)
        return loss

    @property
    def compile(self) -> bool:
        """Whether whole passes are compiled: forward in TEST, forward and backward in TRAIN."""
        return self._program is not None

    def recompute(self) -> None:
        """Make every blob readable after a compiled pass: run its layers again over the same data."""
        if self._program and not self._retained:
            self._program.rerun()

    def run_forward(self, start: int = 0, end: int | None = None) -> Array:
        """``forward_pass``, layer by layer."""
        self._take_back()
        steps = self.fusion.steps(start, end, self._one_by_one)
        if not self._watched:
            return passes.forward(steps, self.ops)

        def before(number: int, step: passes.Step) -> None:
            self.callbacks.call("before_forward", start + number)

        def after(number: int, step: passes.Step) -> None:
            if self.debug_info:
                debug_info.log_forward(step.nodes[-1])
            self.callbacks.call("after_forward", start + number)

        return passes.forward(steps, self.ops, before, after)

    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """``backward_pass``, layer by layer."""
        self._take_back()
        steps = self.fusion.steps(end, start, self._one_by_one)
        self._run_what_lacks(steps)
        self._backward_over(steps, end)

    def _backward_over(self, steps: Sequence[Node | Run], first: int) -> None:
        """Run steps that have run forward, of which ``first`` is the first one's node, backward."""
        if not self._watched:
            passes.backward(steps, self.ops)
            return

        def before(number: int, step: passes.Step) -> None:
            self.callbacks.call("before_backward", first + number)

        def after(number: int, step: passes.Step) -> None:
            if self.debug_info and step.nodes[0].need_backward:
                debug_info.log_backward(step.nodes[0])
            self.callbacks.call("after_backward", first + number)

        passes.backward(steps, self.ops, before, after)
        if self.debug_info:
            debug_info.log_params(self.learnable_params)

    def _run_what_lacks(self, steps: Sequence[Node | Run]) -> None:
        """Let layers that have not run forward do so aside; the next pass draws the same random numbers."""
        random = None
        try:
            with self.ops.quiet():
                for step in steps:
                    if step.lacks_forward:
                        random = random or self.rng.bit_generator.state
                        step.run_aside()
        finally:
            if random:
                self.rng.bit_generator.state = random

    def deconv_pass(self, start: int, guided: bool) -> None:
        """Run the nodes from ``start`` back to the first by their ``Deconv``, in place of ``Backward``."""
        self._take_back()
        self.fusion.steps(0, start, one_by_one=True)
        for node in reversed(self.nodes[: start + 1]):
            if node.need_backward:
                try:
                    with self.ops.quiet():
                        node.layer.Deconv(node.top, node.bottom_need_backward, node.bottom, guided)
                except CaffeError as error:
                    raise error.located(node.where, node.name, node.layer.type) from error.__cause__

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
        raise UnknownName(
            f"the net has no layer {layer_name!r}", hint=f"its layers: {', '.join(n.name for n in self.nodes)}"
        )

    # -- parameters, in and out --------------------------------------------------------------------------------------

    def copy_from(self, weights: str | os.PathLike[str]) -> LoadReport:
        """Load parameters by layer name from one file or several joined by commas; tells what became of each layer.

        A file whose name has commas is one file. Layers of the file that the net lacks are ignored, layers of the net
        that the file lacks keep what they have.
        Nothing is changed if something does not fit: another number of blobs, or shapes that differ in more than
        leading 1s.
        """
        return load(self, [(file, read_weights(file)) for file in weights_files(weights)])

    def share_with(self, other: Graph) -> None:
        """Use the other net's parameters, as the original's test nets use the train net's: those of the layer of the
        same name; where there is none, those that a layer of this net shares with by the parameter's name, or those of
        that name in the other net (the original leaves these as their filler made them).

        Nothing is changed if something does not fit.
        """
        layers = by_name(other.nodes)
        taken: dict[tuple[str, int], Blob] = {}
        named: dict[str, tuple[str, Blob]] = {}
        alone: list[Node] = []
        for name, node in by_name(self.nodes).items():
            if name not in layers:
                alone.append(node)
                continue
            theirs = layers[name].layer.blobs
            if len(theirs) != len(node.layer.blobs):
                raise node.error(
                    f"it has {len(node.layer.blobs)} blobs, in the other net {len(theirs)}", "make both layers alike"
                )
            for index, (mine, blob) in enumerate(zip(node.layer.blobs, theirs, strict=True)):
                if mine.shape != blob.shape:
                    raise node.error(
                        f"cannot share param {index}: its shape is {mine.shape}, in the other net {blob.shape}",
                        "make both layers alike",
                    )
                taken[name, index] = blob
                if param_name := node.param_name(index):
                    named.setdefault(param_name, (f"layer {name!r}", blob))
        for param in other.learnable_params:
            if param.name:
                named.setdefault(param.name, (f"layer {param.owner.name!r} of the other net", param.blob))
        for node in alone:
            for index in range(len(node.layer.blobs)):
                if found := named.get(node.param_name(index)):
                    owner, blob = found
                    taken[node.name, index] = shared_blob(node, index, blob, owner)
        self._bind(taken)

    def _bind(self, taken: dict[tuple[str, int], Blob]) -> None:
        """Let layers have other blobs for their own, by the layer's name and the blob's index."""
        for node in self.nodes:
            for index, mine in enumerate(node.layer.blobs):
                blob = taken.get((node.name, index), mine)
                if blob.source is not mine.source:
                    node.layer.blobs[index] = blob
        for param in self.learnable_params:
            param.blob = taken.get((param.owner.name, param.index), param.blob)
        if self._program:
            self._program.parameters_are_others()

    def replaced(self, node: Node, index: int, old: Blob, new: Blob) -> None:
        """A user has put another blob among a layer's: whoever trains the net goes on with it.

        A blob that is learned already is not learned twice, and one that other layers still have stays learned.
        """
        shared = any(blob.source is old.source for other in self.nodes for blob in other.layer.blobs)
        known = any(param.blob.source is new.source for param in self.learnable_params)
        for param in self.learnable_params:
            if param.owner is node and param.index == index and not (shared or known):
                param.blob = new
        if self._program:
            self._program.parameters_are_others()

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
        states = [(*place, node.layer.state()) for place, node in self._occurrences()]
        return {"rng": self.rng.bit_generator.state, "layers": [state for state in states if state[-1] is not None]}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        stored = state["layers"]
        if isinstance(stored, dict):  # as it was written when the layers of one name had one state
            stored = [(name, 0, one) for name, one in stored.items()]
        states = {(name, occurrence): one for name, occurrence, one in stored}
        for place, node in self._occurrences():
            if place in states:
                node.layer.restore_state(states[place])

    def _occurrences(self) -> Iterator[tuple[tuple[str, int], Node]]:
        """Each layer with its name, and how many layers before it have the same."""
        met: Counter[str] = Counter()
        for node in self.nodes:
            yield (node.name, met[node.name]), node
            met[node.name] += 1


def _hearing(graph: Graph, node_index: int) -> Callable[[int, Blob, Blob], None]:
    """What tells a graph, which it does not keep alive, that a layer has another blob."""
    hears = ref(graph)

    def replaced(index: int, old: Blob, new: Blob) -> None:
        if (graph := hears()) is not None:
            graph.replaced(graph.nodes[node_index], index, old, new)

    return replaced


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
