"""Compiled passes: a pass that runs many times is traced once for each set of shapes and compiled as a whole.

A trace runs the layers themselves over arrays without values and records every operation. That works because operations
are functions and layers only bind results: nothing but a solver's update and running statistics writes in place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from ..blobs import Blob
from ..blobs.changes import stamp
from ..blobs.later import Later
from ..blobs.lending import data_is_held, diff_is_held, refresh
from ..errors import EngineError, first_line
from ..logs.log import logger
from ..ops.array import Array
from ..ops.base import LEAVE_OUT, Compiled
from . import passes
from .fusion import Fusion, Normalized
from .structure import Structure
from .wiring import Node


def compile_wanted(wanted: bool | None) -> bool:
    """Return ``wanted``; if it is None, return whether CAFFE_LITE_COMPILE is set and not 0."""
    return os.environ.get("CAFFE_LITE_COMPILE", "0") not in ("", "0") if wanted is None else wanted


class CompiledPass:
    """A net's forward pass, or its forward and backward pass, compiled; layers without bottoms run as usual.

    Afterwards outputs, losses, parameters and their diffs can be read; reading another blob is an error.
    """

    remembers = False

    def __init__(self, net: Structure, backward: bool) -> None:
        self.net = net
        self.backward = backward
        self.sources = [node for node in net.nodes if not (node.bottom or node.layer.blobs)]
        self.traced = nodes = [node for node in net.nodes if node.bottom or node.layer.blobs]
        for node in nodes:
            if node.layer.type == "Python":
                raise _cannot(node, "torch does not see what its class computes")
        self.carried = [blob for node in nodes for blob in node.layer.carried]
        self.given = _distinct([*(blob for node in self.sources for blob in node.top), *self.carried])
        self.made = _distinct(blob for node in nodes for blob in node.top)
        weighted = [blob for node in nodes for blob, w in zip(node.top, node.loss_weights, strict=True) if w]
        self.roots = _distinct([*weighted, *(blob for _, blob, _ in net.output_blobs)])
        kept = {id(blob) for blob in [*self.roots, *self.given]}
        self.kept = [*(blob for blob in self.made if id(blob) in kept), *self.carried]
        self.dropped = [blob for blob in self.made if id(blob) not in kept]
        self._shapes: dict[tuple[tuple[int, ...], ...], list[tuple[int, ...]]] = {}
        self.frozen: tuple[list[tuple[int, ...] | None], list[Array]] | None = None
        self.changed = False
        self.held_back = False
        self.learned = self._params()
        self.compiled = self._untraced()

    def serves(self, read: Iterable[Blob] = ()) -> bool:
        """Return whether the pass keeps the blobs to ``read`` afterwards, and those of which a user holds an array."""
        if any(blob is other for blob in read for other in self.dropped):
            return False
        data = any(data_is_held(blob) for blob in self.dropped)
        if not (data or any(diff_is_held(blob) for blob in (*self.dropped, *self.given))):
            return True
        if not self.held_back:
            self.held_back = True
            logger.info(
                "Somebody holds arrays of blobs inside net %r, which compiled passes do not keep: "
                "until they let go of them, passes run layer by layer",
                self.net.name,
            )
        return False

    def __call__(self) -> Array:
        """Run the net once; return the sum of its weighted losses."""
        net = self.net
        loss = passes.forward(self.sources, net.ops)
        self._reshape()
        rooted = [blob.has_diff for blob in self.roots]
        constant = self._constant()
        self.carried_in = [blob.data for blob in self.carried]
        results, note = self.compiled(
            [blob.data for blob in self.given] + [blob.diff for blob in self.roots if blob.has_diff],
            self.frozen[1] if self.frozen and constant else self._arrays(),
            tuple(rooted),
            constant,
        )
        for blob, array in zip(self.kept, results[1:], strict=False):
            blob.data = array
        for blob in self.kept:
            refresh(blob)
        for blob in self.dropped:
            blob.data = _NOT_KEPT
        for blob in note.with_diff:
            blob.diff = _NOT_KEPT
        for blob, array in zip(note.learned, results[1 + len(self.kept) :], strict=True):
            blob.add_diff(array)
            refresh(blob)
        return net.ops.scalar(loss + results[0])

    def parameters_are_others(self) -> None:
        self.changed = True
        learned = self._params()
        if [*map(id, learned)] != [*map(id, self.learned)]:
            self.learned, self.compiled = learned, self._untraced()

    def _untraced(self) -> Compiled[Array]:
        what = "forward and backward pass" if self.backward else "forward pass"
        return self.net.ops.compile(f"the {what} of net {self.net.name!r}", self._trace)

    def rerun(self) -> None:
        """Run the same pass over the same data again, layer by layer, so that every blob can be read."""
        self.net.clear_param_diffs()
        for blob, array in zip(self.carried, self.carried_in, strict=True):
            blob.data = array
        passes.forward(self.traced, self.net.ops)
        if self.backward:
            passes.backward(self.traced, self.net.ops)

    def _constant(self) -> bool:
        """Return whether the parameters' values are compiled in: in a TEST net, from its first pass until they change.

        ``stamp`` detects a change.
        """
        if self.backward or self.changed or not self.compiled.takes_constants:
            return False
        state = [stamp(blob) for node in self.net.nodes for blob in node.layer.blobs]
        if self.frozen is None and None not in state:
            self.frozen = state, self._arrays()  # the arrays are kept alive for their stamps
        self.changed = self.frozen is None or self.frozen[0] != state
        return not self.changed

    def _params(self) -> list[Blob]:
        return _distinct(blob.source for node in self.net.nodes for blob in node.layer.blobs)

    def _arrays(self) -> list[Array]:
        return [blob.data for blob in self._params()]

    def _reshape(self) -> None:
        """Give the blobs the shapes that follow from those of the given blobs."""
        given = tuple(blob.shape for blob in self.given)
        if self._shapes.get(given) != [blob.shape for blob in self.made]:
            self.net.reshape()
            self._shapes[given] = [blob.shape for blob in self.made]

    def _trace(self, *arrays: Array) -> tuple[list[Array], _Note]:
        """Run the pass over these arrays, which have no values; blobs and layers are left as they were."""
        net, params = self.net, self._params()
        rooted = [blob for blob in self.roots if blob.has_diff]
        blobs = _distinct([*self.given, *self.made, *params])
        before = [blob.exchange(None, None) for blob in blobs]
        saved = [node.layer.saved for node in net.nodes]
        random = net.rng.bit_generator.state
        try:
            array = iter(arrays)
            for blob in self.given:
                blob.data = next(array)
            for blob in rooted:
                blob.diff = next(array)
            for blob in params:
                blob.data = next(array)
            results = [self._trace_steps(), *[blob.data for blob in self.kept]]
            learned = [blob for blob in params if blob.has_diff]
            results += [blob.diff for blob in learned]
            unread = {id(blob) for blob in [*self.roots, *params]}
            return results, _Note(learned, [blob for blob in blobs if blob.has_diff and id(blob) not in unread])
        finally:
            net.rng.bit_generator.state = random
            for node, kept in zip(net.nodes, saved, strict=True):
                node.layer.saved = kept
            for blob, (data, diff) in zip(blobs, before, strict=True):
                blob.exchange(data, diff)

    def _trace_steps(self) -> Array:
        ops = self.net.ops
        steps = Fusion(self.traced, ops, [Normalized]).steps(0, None, one_by_one=False)
        loss = passes.forward(steps, ops, explain=_untraceable)
        if self.backward:
            passes.backward(steps, ops, explain=_untraceable)
        return loss


def _untraceable(node: Node, error: Exception) -> EngineError:
    return _cannot(node, first_line(error))


def _refuse() -> Array:
    raise EngineError(
        "this blob is not there: a compiled pass keeps outputs, losses, parameters and their diffs only",
        hint=f"name it in forward(blobs=[...]) of a TEST net, or {LEAVE_OUT}",
    )


_NOT_KEPT = Later(_refuse)


class _Note(NamedTuple):
    """The parameters to which a traced pass has given a gradient, and the other blobs that got one."""

    learned: list[Blob]
    with_diff: list[Blob]


def _distinct(blobs: Iterable[Blob]) -> list[Blob]:
    return list({id(blob): blob for blob in blobs}.values())


def _cannot(node: Node, why: str) -> EngineError:
    return EngineError(
        f"it cannot be compiled: {why}",
        where=node.where,
        layer=node.name,
        layer_type=node.layer.type,
        hint=LEAVE_OUT,
    )
