"""Comparing two forms of a net: their outputs for seeded, zero and large inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..layer import Kind
from ..net.wiring import Node
from ..pycaffe.net import Net

TOLERANCE = 1e-4  # of the spread of an output
_MOST_ROUNDING = 1e-2
_SEED = 1
_NEAR = 3  # places
_NEARLY_EQUAL = ("zero", "large")  # kinds of inputs for which many scores are

Arrays = Mapping[str, np.ndarray]
# Runs one form of a net over its inputs, by name; returns blobs by name, outputs and perhaps others.
Run = Callable[[Arrays], Arrays]


class Gap(NamedTuple):
    """The largest difference between two results, over the spread of the first, and the blob that it is in."""

    blob: str
    size: float


class Comparison(NamedTuple):
    """The largest gap of the outputs for one kind of inputs: "random", "zero" or "large".

    ``rounding`` is the gap between the net's own outputs in float32 and in float64, if it had to be found out.
    """

    kind: str
    gap: Gap
    rounding: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kind} inputs: the outputs differ by {self.gap.size:.2g} of their spread at most ({self.gap.blob})"
            + (f"; the net's own, from those in float64, by {self.rounding:.2g}" if self.rounding else "")
        )


def inputs(net: Net, names: Sequence[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield what to feed these blobs of a net, with a name: normally distributed values, zeros, values up to hundreds.

    A blob whose reader asks for certain values (``Layer.example``) gets these. With no names, yield nothing to feed,
    once.
    """
    if not names:
        yield "given", {}
        return
    rng = np.random.default_rng(_SEED)
    for kind, scale in (("random", 1.0), ("zero", 0.0), ("large", 100.0)):
        yield kind, {name: _values(net, name, scale, rng) for name in names}


def _values(net: Net, name: str, scale: float, rng: np.random.Generator) -> np.ndarray:
    shape = net.blobs[name].data.shape
    wanted = (node.layer.example(index, node.bottom[index].shape, rng) for node, index in _readers(net.nodes, name))
    values = next((values for values in wanted if values is not None), None)
    return scale * rng.standard_normal(shape) if values is None else values.reshape(shape)


def _readers(nodes: Sequence[Node], name: str) -> Iterator[tuple[Node, int]]:
    """Yield the layers that read a blob, with the index of the bottom, also behind layers that only reshape it."""
    for node in nodes:
        for index, bottom in enumerate(node.bottom_names):
            if bottom == name and node.layer.type in ("Split", "Reshape", "Flatten") and name not in node.top_names:
                for top in node.top_names:
                    yield from _readers(nodes, top)
            elif bottom == name:
                yield node, index


def run(net: Net, fed: Arrays, other: Arrays | None = None) -> dict[str, np.ndarray]:
    """Run a net forward over these inputs, as its first pass; return all of its blobs, in the order of the layers.

    If anything is fed, no data layer runs: what else they would make is for losses. ``other`` has blobs of another form
    of the net. Layers that decide read their bottoms from there, and hand on the tops from there: rounding before such
    a layer must not change what is compared behind it.
    """
    for name, values in fed.items():
        net.blobs[name].data[...] = values
    for node in net.nodes:
        node.layer.forget()
    found: dict[str, np.ndarray] = {}
    for part, group in groupby(net.nodes, lambda node: _part(node, fed, other or {})):
        nodes = list(group)
        if part == "computed":
            net.forward(start=nodes[0].name, end=nodes[-1].name)
        elif part == "decided" and other is not None:
            for node in nodes:
                found |= {name: found.get(name, _copied(net, name)) for name in node.bottom_names}
                _take(net, node.bottom_names, other)
                net.forward(start=node.name, end=node.name)
                found |= {name: _copied(net, name) for name in node.top_names}
                _take(net, node.top_names, other)
    return {name: found.get(name, _copied(net, name)) for name in net.blobs}


def _part(node: Node, fed: Arrays, other: Arrays) -> str:
    layer = node.layer
    is_data = layer.kind == Kind.DATA and not node.bottom and not layer.blobs and not layer.is_constant
    if (fed and is_data) or (not node.bottom and not set(fed).isdisjoint(node.top_names)):
        return "fed"
    return "decided" if _decides(node, other) else "computed"


def _decides(node: Node, other: Arrays) -> bool:
    return node.layer.decides and all(name in other for name in (*node.bottom_names, *node.top_names))


def _copied(net: Net, name: str) -> np.ndarray:
    return np.array(net.blobs[name].data, np.float64)


def _take(net: Net, names: Sequence[str], other: Arrays) -> None:
    for name in names:
        net.blobs[name].reshape(*other[name].shape)
        net.blobs[name].data[...] = other[name]


def gap(blob: str, wanted: np.ndarray, got: np.ndarray) -> Gap:
    """Return how far a result is from the one that is wanted; infinite if their shapes differ, or what is finite.

    The spread of values that lie close together is taken for a tenth of their size, which rounding is measured by.
    """
    if wanted.shape != got.shape or not np.array_equal(np.isfinite(wanted), np.isfinite(got)):
        return Gap(blob, np.inf)
    finite = np.isfinite(wanted)
    if not finite.any():
        return Gap(blob, 0.0)
    spread = max(float(np.ptp(wanted[finite])), float(np.abs(wanted[finite]).max()) * 0.1, 1e-30)
    return Gap(blob, float(np.abs(wanted[finite] - got[finite]).max()) / spread)


def gap_of_rows(blob: str, wanted: np.ndarray, got: np.ndarray) -> Gap:
    """Return the gap between lists of what was found, in which neighbours may have changed places.

    They do so if rounding changes which of two scores is larger.
    """
    straight = gap(blob, wanted, got)
    if straight.size <= TOLERANCE or wanted.shape != got.shape:
        return straight
    columns = wanted.shape[-1] if wanted.shape[:2] == (1, 1) else wanted[0].size
    rows, others = (np.nan_to_num(x.astype(np.float64)).reshape(-1, columns) for x in (wanted, got))
    place = np.arange(len(rows))[:, None] + np.arange(-_NEAR, _NEAR + 1)
    distance = np.abs(rows[:, None] - others[place.clip(0, len(rows) - 1)]).max(2)
    distance[place != place.clip(0, len(rows) - 1)] = np.inf
    nearest = np.take_along_axis(place, distance.argmin(1)[:, None], 1)[:, 0]
    return gap(blob, rows, others[nearest]) if len(set(nearest)) == len(nearest) else straight


class Trial(NamedTuple):
    """Inputs of one kind: for the net, and what its other form gets in their place."""

    kind: str
    fed: Arrays
    given: Arrays


def compare(
    net: Net, fed: Sequence[str], outputs: Sequence[str], other: Run, trials: Iterable[Trial] | None = None
) -> list[Comparison]:
    """Compare the outputs of a net with those of another form of it, over inputs to the blobs ``fed``, or ``trials``.

    Raise if they differ by more than 1e-4 of their spread. The message names the first blob that differs so much, of
    all that the other form returns. Some nets multiply rounding errors so much that their own outputs in float32 are
    not within 1e-4 of those in float64; then the other form's may be twice as far from them, up to 0.01.

    If the other form returns the bottoms and tops of layers that decide, the bottoms are compared, and such a layer
    decides over those of the other form. The tops are compared too, but not for zero and large inputs, for which many
    scores are nearly equal.
    """
    if not outputs:
        raise NetError("the net has no outputs to compare", hint="remove its Silence layers")
    found = []
    if trials is None:
        trials = (Trial(kind, values, values) for kind, values in inputs(net, fed))
    for kind, values, given in trials:
        got = other(given)
        known = {**values, **got}
        wanted = run(net, values, known)
        deciding = [node for node in net.nodes if _decides(node, known)]
        read = {name for node in deciding for name in node.bottom_names}
        decided = {name for node in deciding for name in node.top_names}
        unstable = decided if kind in _NEARLY_EQUAL and not read <= set(fed) else set()

        names = [name for name in wanted if name in got and name not in unstable]
        gaps = [(gap_of_rows if name in decided else gap)(name, wanted[name], got[name]) for name in names]
        worst = max((one for one in gaps if one.blob in {*outputs, *read, *decided}), key=lambda one: one.size)
        rounding = _rounding(net, values, known, worst.blob, wanted[worst.blob]) if worst.size > TOLERANCE else 0.0
        if worst.size > max(TOLERANCE, min(2 * rounding, _MOST_ROUNDING)):
            blob, size = next(one for one in gaps if one.size > TOLERANCE)
            raise NetError(
                f"the two forms differ: for {kind} inputs by {worst.size:.3g} of the spread of {worst.blob!r}. "
                f"The first blob to differ is {blob!r}, by {size:.3g}",
                hint="Nothing was written. Please report it, with the net",
            )
        found.append(Comparison(kind, worst, rounding))
    return found


def _rounding(net: Net, fed: Arrays, other: Arrays, blob: str, found: np.ndarray) -> float:
    """Return the gap between what a blob of a net holds and what it would hold in float64."""
    state = net.state_of_rules
    exact = Net(net.to_proto(), net.phase, state.level, state.stage, dtype="float64", seed=0, compile=False)
    for name, blobs in net.params.items():
        for ours, theirs in zip(blobs, exact.params[name], strict=True):
            theirs.data[...] = ours.data
    for name in net.inputs:
        exact.blobs[name].reshape(*net.blobs[name].data.shape)
    exact.reshape()
    size = gap(blob, run(exact, fed, other)[blob], found).size
    return size if np.isfinite(size) else 0.0
