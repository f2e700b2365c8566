"""The nets of a solver, from its many fields for them: one to train, and those to test it with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..errors import SolverError
from ..files.paths import system_path
from ..logs.log import logger, muted
from ..net.filtering import filter_layers, placed_layers
from ..net.weights import weights_files
from ..proto.caffe_pb2 import TEST, TRAIN, NetParameter, NetState, SolverParameter
from ..proto.parsed import Parsed
from ..proto.prototxt import read_net
from ..pycaffe.net import Net
from ..ranks import solver_count, solver_rank
from .splitting import split_batches

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def net_problems(solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
    """Yield an error for everything wrong with the fields for nets, without reading the nets."""
    p = solver.message
    given = [name for name in _TRAIN_FIELDS if p.HasField(name)]
    if len(given) != 1:
        yield SolverError(
            f"the net to train is given {len(given)} times" + (f": {', '.join(given)}" if given else ""),
            where=solver.where(*given[1:2]),
            hint=f"give exactly one of {', '.join(_TRAIN_FIELDS)}",
        )
    tests = len(p.test_net) + len(p.test_net_param)
    generic = p.HasField("net") or p.HasField("net_param")
    if len(p.test_iter) < tests or (len(p.test_iter) > tests and not generic):
        yield SolverError(
            f"test_iter is given {len(p.test_iter)} times for {tests} test nets",
            where=solver.where("test_iter", 0) if p.test_iter else solver.where("test_net", 0),
            hint="give it once for each test_net and test_net_param"
            + (", and for each test of net" if generic else ""),
        )
    elif p.test_state and len(p.test_state) != len(p.test_iter):
        yield SolverError(
            f"test_state is given {len(p.test_state)} times for {len(p.test_iter)} test nets",
            where=solver.where("test_state", 0),
            hint="give it once per test net or not at all",
        )
    if p.test_iter and p.test_interval <= 0:
        yield SolverError("there is a test net, but no test_interval", where=solver.where("test_iter", 0),
                          hint="set test_interval: after so many iterations the net is tested")  # fmt: skip


def train_net(solver: Parsed[SolverParameter], *, split_batch: bool, **options: Any) -> Net:
    """Make the training net, from the one field that gives it, in the solver's train_state.

    With ``split_batch``, it reads its part of each batch: there are ``caffe.solver_count()`` solvers.
    """
    p = solver.message
    field = next(name for name in _TRAIN_FIELDS if p.HasField(name))
    if field.endswith("param"):
        logger.info("Creating training net specified in %s.", field)
        net = solver.sub(field)
    else:
        logger.info("Creating training net from %s file: %s", field, getattr(p, field))
        net = _read(getattr(p, field), solver)
    parts = solver_count() if split_batch else 1
    return _make(net, NetState(phase=TRAIN), p.train_state, p, parts=parts, **options)


def test_nets(solver: Parsed[SolverParameter], **options: Any) -> Iterator[Net]:
    """Make a net for each test_iter: from test_net_param, then test_net, and net or net_param for all that remain."""
    p = solver.message
    sources = _test_sources(solver)
    for index, (label, net) in enumerate(sources):
        logger.info("Creating test net (#%d) specified by %s", index, label)
        state = p.test_state[index] if p.test_state else NetState()
        made = _make(net, NetState(phase=TEST), state, p, offset=1 + index, **options)
        made._caffe_graph.debug_info = p.debug_info
        yield made


def _test_sources(solver: Parsed[SolverParameter]) -> list[tuple[str, Parsed[NetParameter]]]:
    p = solver.message
    sources = [("test_net_param", solver.sub("test_net_param", index)) for index in range(len(p.test_net_param))]
    sources += [(f"test_net file: {path}", _read(path, solver)) for path in p.test_net]
    left = len(p.test_iter) - len(sources)
    if p.HasField("net_param"):
        sources += [("net_param", solver.sub("net_param"))] * left
    elif left:
        sources += [(f"net file: {p.net}", _read(p.net, solver))] * left
    return sources


def _make(
    net: Parsed[NetParameter],
    state: NetState,
    wanted: NetState,
    p: SolverParameter,
    *,
    offset: int = 0,
    parts: int = 1,
    **options: Any,
) -> Net:
    """Make a net in its state; each field of the state is the solver's, else the net's own, else the default."""
    state.MergeFrom(net.message.state)
    state.MergeFrom(wanted)
    message = NetParameter()
    message.CopyFrom(net.message)
    message.state.CopyFrom(state)
    placed = Parsed(message, net.source, [], net.offsets)
    if parts > 1:
        with muted():
            layers = filter_layers(placed_layers(placed), state)
        split_batches(layers, parts)
    seed = p.random_seed + offset + solver_rank() if p.random_seed >= 0 else None
    return Net(placed, state.phase, seed=seed, **options)


def load_weights(net: Net, p: SolverParameter) -> None:
    """Load the files that the solver's ``weights`` name, in their order."""
    for files in p.weights:
        for file in weights_files(files):
            logger.info("Finetuning from %s", file)
            net.copy_from(file)


def _read(path: str, solver: Parsed[SolverParameter]) -> Parsed[NetParameter]:
    return read_net(net_file(path, solver))


def net_file(path: str, solver: Parsed[SolverParameter]) -> str:
    """Take a path relative to the working directory, as in the original, or to the solver if nothing is there."""
    path = system_path(path, SolverError, solver.where())
    beside = os.path.join(os.path.dirname(solver.file), path)
    return beside if not os.path.exists(path) and os.path.exists(beside) else path
