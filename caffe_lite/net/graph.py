"""A net's passes: forward, backward, or compiled as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ..blobs import Blob
from ..blobs.lending import write_back
from ..errors import CaffeError, EngineError
from ..layer import Everyone
from ..logs.log import logger
from ..ops.array import Array
from ..ops.base import LEAVE_OUT, Program
from ..proto import caffe_pb2
from . import debug_info, passes
from .compiled import CompiledPass, compile_wanted
from .fusion import Fusion, Run
from .loading import LoadReport, load
from .structure import Structure
from .weights import read_weights, weights_files
from .wiring import Node, by_name, shared_blob


class Callbacks:
    """The functions to call, with a layer's index, when the layer has run or is about to run, by the moment's name."""

    def __init__(self) -> None:
        self._at: dict[str, list[Callable[[int], object]]] = {}

    def add(self, moment: str, callback: Callable[[int], object]) -> None:
        self._at.setdefault(moment, []).append(callback)

    def call(self, moment: str, index: int) -> None:
        for callback in self._at.get(moment, ()):
            callback(index)

    def __bool__(self) -> bool:
        return bool(self._at)


class Graph(Structure):
    """The nodes of a net, and everything that runs them. For the arguments see ``caffe_lite.Net``."""

    def __init__(self, *network: Any, compile: bool | None, **settings: Any) -> None:
        super().__init__(*network, **settings)
        self.callbacks = Callbacks()
        self.fusion = Fusion(self.nodes, self.ops)
        self._retained = True
        self._program: Program | None = None
        try:
            self._program = self.ops.program(self)
            if self._program is None and compile_wanted(compile):
                self._program = CompiledPass(self, backward=self.phase == caffe_pb2.TRAIN)
        except BaseException:
            self.close()
            raise

    def forward_pass(self, start: int = 0, end: int | None = None, read: Sequence[str] = ()) -> Array:
        """Run the nodes from ``start`` to ``end``, both included.

        Returns the sum of their weighted losses, as an array of the engine. ``read`` names blobs besides the outputs
        that will be read afterwards; a compiled pass might not keep them.
        """
        whole = start == 0 and end in (None, len(self.nodes) - 1)
        compiled = self._program
        able = whole and compiled and not (compiled.backward or self._watched)
        if compiled and able and compiled.serves(self._blob[name] for name in read):
            self._retained = False
            return compiled()
        if not whole:
            self._complete()
        self._retained = self._retained or whole
        return self.run_forward(start, end)

    def backward_pass(self, start: int | None = None, end: int = 0) -> None:
        """Run the nodes from ``start`` (the last) back to ``end``, both included; parameters' diffs accumulate.

        See ``backward`` for nodes that have not run forward.
        """
        self._complete()
        if not self._retained:
            raise EngineError(
                "there is nothing for a backward pass: the last forward pass was compiled, and keeps outputs only",
                hint=f"run the net forward once more (a net for TRAIN), or {LEAVE_OUT}",
            )
        self.run_backward(start, end)

    def forward_backward_pass(self, observer: passes.Observer | None = None) -> Array:
        """Run the whole net forward and backward; return its weighted losses' sum, as an array of the engine.

        The observer is called after each step of the backward pass, unless a program runs the pass as a whole.
        """
        compiled = self._program
        if compiled and compiled.backward and not self._watched and compiled.serves():
            self._retained = False
            return compiled()
        loss = self.forward_pass()
        self._complete()
        self._backward_over(self.fusion.steps(0, None, self._one_by_one), 0, observer)
        return loss

    @property
    def compile(self) -> bool:
        """True if whole passes are compiled: forward in TEST, forward and backward in TRAIN."""
        return self._program is not None

    def recompute(self) -> None:
        """Make every blob readable after a compiled pass: run its layers again over the same data."""
        if self._program and not self._retained:
            self._program.rerun()

    def _complete(self) -> None:
        """Let the layers know of the last pass if a program ran it and can have them run over the same data."""
        if self._program and self._program.remembers and not self._retained:
            self._program.rerun()
            self._retained = True

    def run_forward(self, start: int = 0, end: int | None = None, observer: passes.Observer | None = None) -> Array:
        """Run ``forward_pass`` layer by layer; the observer is called after each step."""
        self._take_back()
        steps = self.fusion.steps(start, end, self._one_by_one)
        if not self._watched:
            return passes.forward(steps, self.ops, after=observer)

        def before(number: int, step: passes.Step) -> None:
            self.callbacks.call("before_forward", start + number)

        def after(number: int, step: passes.Step) -> None:
            if self.debug_info:
                debug_info.log_forward(step.nodes[-1])
            self.callbacks.call("after_forward", start + number)
            if observer is not None:
                observer(number, step)

        return passes.forward(steps, self.ops, before, after)

    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """Run ``backward_pass`` layer by layer."""
        self._take_back()
        steps = self.fusion.steps(end, start, self._one_by_one)
        self._run_what_lacks(steps)
        self._backward_over(steps, end)

    def _backward_over(self, steps: Sequence[Node | Run], first: int, observer: passes.Observer | None = None) -> None:
        """Run steps backward that have run forward; ``first`` is the index of their first node."""
        if not self._watched:
            passes.backward(steps, self.ops, after=observer)
            return

        def before(number: int, step: passes.Step) -> None:
            self.callbacks.call("before_backward", first + number)

        def after(number: int, step: passes.Step) -> None:
            if self.debug_info and step.nodes[0].need_backward:
                debug_info.log_backward(step.nodes[0])
            self.callbacks.call("after_backward", first + number)
            if observer is not None:
                observer(number, step)

        passes.backward(steps, self.ops, before, after)
        if self.debug_info:
            debug_info.log_params(self.learnable_params)

    def _run_what_lacks(self, steps: Sequence[Node | Run]) -> None:
        """Run aside the layers that have not run forward; the next pass draws the same random numbers."""
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
        """Run the nodes from ``start`` back to the first with their ``Deconv`` instead of ``Backward``."""
        self._complete()
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
        """Let the engine see everything that users have written into blobs."""
        if not self.ops.shares_memory:
            for blob in self._blob.values():
                write_back(blob)

    @property
    def _one_by_one(self) -> bool:
        return self._watched or self.ops.tracer is not None

    @property
    def _watched(self) -> bool:
        """True if somebody wants to see every layer run."""
        return self.debug_info or bool(self.callbacks)

    # -- other workers -------------------------------------------------------------------------------------------------

    def spread(self, everyone: Everyone, sync_batch_norm: bool = False, split_batch: bool = False) -> None:
        """Let the layers see the batches of all workers as one, before the first pass.

        With ``sync_batch_norm``, those that normalise by the statistics of the batch do. With ``split_batch``, all
        others do, as far as they can: the mean of the workers' losses is then that of the whole batch.
        """
        if everyone.count == 1:
            return
        uneven = any(node.layer.rows_vary for node in self.nodes)
        for node in self.nodes:
            if sync_batch_norm if node.layer.normalizes_batch else split_batch:
                node.layer.everyone, node.layer.uneven = everyone, uneven
        self.fusion = Fusion(self.nodes, self.ops)
        if sync_batch_norm and not any(node.layer.normalizes_batch for node in self.nodes):
            logger.warning("--sync-batch-norm has no effect: no layer of the net normalises batches")
        apart = [node for node in self.nodes if node.layer.mixes_samples or _sums(node)]
        if split_batch and apart:
            names = ", ".join(f"{node.name} ({node.layer.type})" for node in apart)
            advice = "; --sync-batch-norm helps" if any(node.layer.normalizes_batch for node in apart) else ""
            logger.warning(
                "With --split-batch these layers see only one worker's part of the batch, so that training in one "
                "process differs: %s%s",
                *(names, advice),
            )

    # -- parameters of others ------------------------------------------------------------------------------------------

    def copy_from(self, weights: str | os.PathLike[str]) -> LoadReport:
        """Load parameters by layer name from one file, or several joined by commas; report the outcome for each layer.

        If a file has this path, commas included, it is one file. Layers of the file that the net lacks are ignored;
        layers of the net that the file lacks keep their values. Nothing is changed if something does not fit: if the
        number of blobs differs, or if shapes differ in more than leading 1s.
        """
        return load(self, [(file, read_weights(file)) for file in weights_files(weights)])

    def share_with(self, other: Graph) -> None:
        """Use the other net's parameters, as the original's test nets use the train net's.

        A layer uses those of the other net's layer of the same name. If there is none, parameters with a name use those
        that layers of this net have taken for that name, else those of that name in the other net (the original leaves
        these as their filler made them). Nothing is changed if something does not fit.
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
        """Replace blobs of layers, given by the layer's name and the blob's index."""
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
        """Let training go on with the blob that a user has put in the place of one of a layer's.

        A blob that is learned already is not learned twice, and one that other layers still have stays learned.
        """
        shared = any(blob.source is old.source for other in self.nodes for blob in other.layer.blobs)
        known = any(param.blob.source is new.source for param in self.learnable_params)
        for param in self.learnable_params:
            if param.owner is node and param.index == index and not (shared or known):
                param.blob = new
        if self._program:
            self._program.parameters_are_others()


def _sums(node: Node) -> bool:
    """Return whether the sum over a batch is a loss; a loss layer takes the mean, or does what has the same effect."""
    weighted = zip(node.top, node.loss_weights, strict=True)
    return not node.layer.is_loss and any(weight and blob.num_axes for blob, weight in weighted)
