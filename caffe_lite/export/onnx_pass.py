"""Whole passes over a net for TEST, run by onnxruntime as graphs in ONNX."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from ..agreement.onnx_running import OnnxRun
from ..blobs import Blob
from ..blobs.later import Later
from ..blobs.lending import data_is_held, refresh
from ..blobs.watching import Watch, all_intact, as_watched, readable, release, watch
from ..errors import CaffeError, first_line
from ..layer import Layer
from ..logs.log import logger
from ..net import passes
from ..net.graph import Graph
from ..net.wiring import Node
from ..ops.array import Array
from ..ops.roles import Normalization
from ..proto.caffe_pb2 import TEST
from .onnx_export import runner
from .writing import attempt, parted

Shape = tuple[int, ...]
Check = Callable[[np.ndarray], None]


class _Session(NamedTuple):
    """A graph that runs, in the process where it was made: onnxruntime's threads do not survive a fork."""

    run: OnnxRun
    process: int


class _Ran(NamedTuple):
    """What the graph has last run over: the blobs that it took, the weights, and the layers whose work it did."""

    given: list[Watch]
    weights: list[Watch]
    nodes: list[Node]


class Inspecting(Protocol):
    """Operations that collect what layers inspect, and how, in ``checks`` while that is a list."""

    checks: list[tuple[np.ndarray, Check]] | None


class OnnxPass:
    """A net's forward pass: data layers, then the graph, then the layers that only train or report.

    The graph is made when a pass begins with the same weights and shapes as the pass before. Until then, the layers
    run one by one. Layers that cannot be written in ONNX run before the graph or, with all that follows them, after it.

    A blob that the graph does not give is computed by the layers, over the same data, when somebody reads it; from then
    on the graph gives it.
    """

    backward = False
    remembers = True

    def __init__(self, net: Graph, ops: Inspecting, threads: int) -> None:
        self.net = net
        self.ops = ops
        self.threads = threads
        self.asked: set[str] = set()  # the blobs that somebody has read, by name
        self.laters = {name: Later(partial(self._read, name)) for node in net.nodes for name in node.top_names}
        self.without = _in_no_graph(net.nodes)
        self.weights: list[Watch] = []
        self.shapes: list[Shape] = []  # of the blobs that the graph takes
        self.inner: list[Shape] = []  # of those that follow from them
        self.checks: list[tuple[str, Check]] = []  # of blobs that the graph takes or gives
        self.session: _Session | None = None
        self.refused = False
        self.ran: _Ran | None = None
        self._part()

    def _part(self) -> None:
        """Decide which layers run where, and which blobs the graph gives."""
        blobs = self.net._blob
        self.parts = parted(self.net.nodes, self.without)
        kept = self.parts.kept
        self.given = {name: blobs[name] for name in self.parts.inputs}
        read = {name for node in self.parts.left_out for name in node.bottom_names}
        weights = ((name, w) for node in kept for name, w in zip(node.top_names, node.loss_weights, strict=True) if w)
        self.weighted = dict(weights)
        wanted = {*read, *self.weighted, *self.net.outputs, *self.asked}
        made = dict.fromkeys(name for node in kept for name in node.top_names)
        self.kept = {name: blobs[name] for name in made if name in wanted}
        self.dropped = {name: blobs[name] for name in made if name not in wanted}
        self.learned = list({id(blob.source): blob.source for node in kept for blob in node.layer.blobs}.values())
        known = {id(one.blob): one for one in self.weights}
        self.weights = [known[id(blob)] for blob in self.learned if id(blob) in known]
        self.session = None
        self.is_new = True

    def _give(self, names: Iterable[str]) -> None:
        """Let the graph give some more blobs from now on."""
        if more := set(names) - self.asked:
            self.asked |= more
            self._part()

    def serves(self, read: Iterable[Blob] = ()) -> bool:
        """Return True; but let the graph give what will be read, and blobs of which a user holds an array."""
        held = (blob for blob in self.dropped.values() if blob.data_loan is not None and data_is_held(blob))
        if asked := [blob.name for blob in (*read, *held) if blob.name in self.dropped]:
            self._give(asked)
        return True

    def parameters_are_others(self) -> None:
        self._part()

    def __call__(self) -> Array:
        """Run the net once; return the sum of its weighted losses."""
        ops, parts = self.net.ops, self.parts
        loss = passes.forward(parts.sources, ops)
        for blob in self.given.values():
            release(blob)
        self._reshape()
        if self._is_ready() and self._run_graph():
            for name, weight in self.weighted.items():
                loss = loss + weight * ops.sum(self.kept[name].data)
        else:
            loss = loss + self._run_layers(parts.kept)
        with readable(self.ran.given if self.ran else ()):
            return ops.scalar(loss + passes.forward(parts.left_out, ops))

    def _reshape(self) -> None:
        """Give the blobs the shapes that follow from those of the blobs that the graph takes."""
        if self.is_new or self._present_shapes() != (self.shapes, self.inner):
            self.net.reshape()
            self.is_new, self.inner = False, self._present_shapes()[1]

    def _present_shapes(self) -> tuple[list[Shape], list[Shape]]:
        return [blob.shape for blob in self.given.values()], [blob.shape for blob in self.dropped.values()]

    def _is_ready(self) -> bool:
        """Return whether there is a graph for the present weights and shapes; make it if they are those of before."""
        weights, shapes = self.weights, [blob.shape for blob in self.given.values()]
        if len(weights) != len(self.learned) or not all_intact(weights):
            known = {id(one.blob): one for one in weights}
            weights = [watch(blob, known.get(id(blob))) for blob in self.learned]
        is_other = weights != self.weights or shapes != self.shapes
        self.weights, self.shapes = weights, shapes
        if is_other:
            self.session, self.refused = None, False
            return False
        if self.refused or not self.parts.kept or any(0 in shape for shape in shapes):
            return False
        if self.session is None or self.session.process != os.getpid():
            self._make()
        return self.session is not None

    def _make(self) -> None:
        """Make the graph, or note why there is none."""
        with readable(self.weights):
            written, problems = attempt(self.net, self.parts, list(self.kept), free_batch=False)
            if not problems and (loose := {name for name, _ in written.free} & set(self.dropped)):
                self._give(loose)  # their shapes depend on values
                written, problems = attempt(self.net, self.parts, list(self.kept), free_batch=False)
        if problems:
            for node, error in problems:
                _numpy_computes(node, error.what)
                self.without.add(node.layer)
            self._part()
            return
        try:
            self.session = _Session(runner(written, self.threads), os.getpid())
        except CaffeError as error:
            self._refuse(error)
            return
        counts = len(self.parts.kept), len(self.net.nodes)
        logger.info("onnxruntime runs %d of the %d layers of net %r from now on", *counts, self.net.name)

    def _refuse(self, error: Exception) -> None:
        logger.warning("NumPy computes net %r, because onnxruntime fails: %s", self.net.name, first_line(error))
        self.session, self.refused = None, True

    def _run_graph(self) -> bool:
        """Run the graph; return whether that was possible."""
        assert self.session is not None
        view = self.net.ops.host_view
        arrays = {name: view(blob.data) for name, blob in self.given.items()}
        self._check(arrays)
        try:
            results = self.session.run(arrays)
        except Exception as error:  # onnxruntime does not say which exceptions it raises
            self._refuse(error)
            return False
        self._check(results)
        for name, blob in self.kept.items():
            blob.Reshape(results[name].shape)
            blob.data = results[name]
            refresh(blob)
        for name, blob in self.dropped.items():
            blob.data = self.laters[name]
        self.ran = _Ran([watch(blob) for blob in self.given.values()], self.weights, self.parts.kept)
        return True

    def _check(self, values: Mapping[str, np.ndarray]) -> None:
        for name, check in self.checks:
            if name in values:
                check(values[name])

    def _run_layers(self, nodes: Sequence[Node]) -> Array:
        """Run layers one by one; return the sum of their weighted losses."""
        self._forget()
        found: list[tuple[np.ndarray, Check]] = []
        self.ops.checks = found
        try:
            with readable(self.weights):
                loss = passes.forward(nodes, self.net.ops)
        finally:
            self.ops.checks = None
        read = {name: blob for node in nodes for name, blob in zip(node.bottom_names, node.bottom, strict=True)}
        places = {id(blob.bound[0]): name for name, blob in [*read.items(), *self.given.items()]}
        self.checks = [(places[id(x)], check) for x, check in found if id(x) in places]
        self._give(name for name, _ in self.checks if name in self.dropped)
        return loss

    def _forget(self) -> None:
        """Forget what the graph has last run over, and the blobs that follow from it."""
        self.ran = None
        for name, later in self.laters.items():
            blob = self.net._blob[name]
            if blob.bound[0] is later:
                blob.exchange(None, blob.bound[1])

    def _read(self, name: str) -> Array:
        """Return what the layers make of a blob that the graph has not given."""
        self._give([name])
        self.rerun()
        return self.net._blob[name].data

    def rerun(self) -> None:
        """Run the layers over what the graph has last run over, so that they and their blobs hold what they make."""
        if self.ran is None:
            return
        (given, weights, nodes), self.ran = self.ran, None
        twins: dict[int, Blob] = {}
        for one in given:
            twins[id(one.blob)] = Blob(one.blob.ops, one.array.shape)
            twins[id(one.blob)].data = one.array
        with as_watched([*given, *weights]):
            passes.forward([_over(node, twins) for node in nodes], self.net.ops)
        for name, later in self.laters.items():
            blob = self.net._blob[name]
            if blob.bound[0] is later:
                blob.data = twins[id(blob)].data


def _in_no_graph(nodes: Sequence[Node]) -> set[Layer]:
    """Return layers that do what a graph cannot: learn, remember, or have tops that users write into."""
    taken = {name for node in nodes if not node.bottom for name in node.top_names}
    found: set[Layer] = set()
    for node in nodes:
        layer = node.layer
        if layer.phase != TEST:
            _numpy_computes(node, "its phase is TRAIN")
        elif layer.carried:
            _numpy_computes(node, "it hands values from one pass to the next")
        elif isinstance(layer.role(node.bottom, node.top), Normalization):
            _numpy_computes(node, "it learns statistics of its batches")
        elif not ((layer.is_constant and not layer.blobs) or taken & set(node.top_names) & set(node.bottom_names)):
            continue
        found.add(layer)
    return found


def _numpy_computes(node: Node, why: str) -> None:
    logger.warning('layer "%s" (%s): %s, so NumPy computes this layer', node.name, node.layer.type, why)


def _over(node: Node, twins: dict[int, Blob]) -> Node:
    """Return a node with the same layer that works on twins of its blobs, made where there are none."""

    def twins_of(blobs: Sequence[Blob]) -> list[Blob]:
        return [twins.setdefault(id(blob), Blob(blob.ops)) for blob in blobs]

    return replace(node, bottom=twins_of(node.bottom), top=twins_of(node.top))
