"""Check: reports all mistakes in a prototxt at once, without its data, its weights or users' code."""

from __future__ import annotations

import bisect
import functools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from google.protobuf.message import Message

from ..errors import CaffeError, FieldGivenTwice, PrototxtError, UnknownField, UnknownLayerType, Where
from ..layers.python import finds_module
from ..net.filtering import PlacedLayer, filter_layers
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import TEST, TRAIN, NetParameter, NetState, NetStateRule, SolverParameter
from ..proto.fork_fields import set_fields
from ..proto.parsed import Parsed, Path
from ..proto.parser import parse_text
from ..proto.prototxt import read_text, template_problem, top_fields
from ..proto.schema import fields_of, replacement
from ..proto.source import Source
from ..proto.upgrade import upgrade_net, upgrade_solver
from ..solvers import solver_class
from ..solvers.nets import net_file
from ..solvers.solver import policy_problems
from .outline import Outline

STATUSES = ("syntax", "unknown_field", "unknown_layer", "invalid")  # a file's status is the first that a problem has
MOST_STATES = 16


@dataclass
class Checked:
    """The findings in a file: a net, a solver, or another of Caffe's messages.

    ``notes`` are not problems: they are about deprecated fields, about things that could not be checked, and about the
    meaning of a name that forks give to several layers. ``nets`` are the files that a solver names, if they exist.
    """

    file: str
    kind: str = "other"
    problems: list[CaffeError] = field(default_factory=list)
    notes: list[CaffeError] = field(default_factory=list)
    nets: list[str] = field(default_factory=list)
    _statuses: set[str] = field(default_factory=set)

    @property
    def status(self) -> str:
        return next((status for status in STATUSES if status in self._statuses), "ok")

    def tell(self, problem: CaffeError, status: str = "invalid") -> None:
        for kind, name in ((UnknownField, "unknown_field"), (UnknownLayerType, "unknown_layer")):
            status = name if isinstance(problem, kind) else status
        self._statuses.add(status)
        self.problems.append(problem)

    def note(self, what: str, where: Where, hint: str = "", layer: PlacedLayer | None = None) -> None:
        name, kind = (layer.param.name, layer.param.type) if layer else (None, None)
        self.notes.append(CaffeError(what, where=where, layer=name, layer_type=kind, hint=hint))


def check(path: str | os.PathLike[str]) -> Checked:
    """Check one file."""
    checked = Checked(os.fspath(path))
    try:
        text = read_text(path)
    except PrototxtError as error:
        checked.tell(error, "syntax")
        return checked
    message = _kind(text)
    if message is None:
        checked.tell(_foreign(text, checked.file))
        return checked
    checked.kind = {NetParameter: "net", SolverParameter: "solver"}.get(message, "other")
    parsed: Parsed[Any] = parse_text(text, message, checked.file, collect=True)
    if parsed.problems and (template := template_problem(parsed.source)):
        checked.tell(template, "syntax")
        return checked
    if checked.kind == "other":
        checked.note(f"this is a {message.DESCRIPTOR.name}, neither a net nor a solver", Where(checked.file))
    for problem in parsed.problems:
        checked.tell(problem, "syntax")
    _note_deprecated(parsed, checked)
    _note_idle(parsed, checked)
    if message is SolverParameter:
        _check_solver(parsed, checked)
    elif message is NetParameter:
        _check_net(parsed, checked)
    checked.problems.sort(key=lambda problem: (problem.where.line, problem.where.column) if problem.where else (0, 0))
    return checked


def _kind(text: str) -> type[Message] | None:
    """Guess the message of a text: the one that has most of its fields, with preference for a net or a solver."""
    names = [token.text for token, _ in top_fields(text)]
    others = [getattr(caffe_pb2, name) for name in caffe_pb2.DESCRIPTOR.message_types_by_name]

    def known(message: type[Message]) -> int:
        return sum(name in fields_of(message.DESCRIPTOR) for name in names)

    first: type[Message] = max((NetParameter, SolverParameter), key=known)
    if known(first) or not names:
        return first
    other: type[Message] = max(others, key=known)
    return other if known(other) else None


_OF_OTHER_PROGRAMS = {
    "train": "it seems to be a configuration of Caffe Neural Tool, which names the solver to train with",
    "op": "it seems to be a list of TensorFlow's operations",
}


def _foreign(text: str, file: str) -> UnknownField:
    token, _ = next(top_fields(text))
    return UnknownField(
        f'no message of Caffe\'s begins with a field "{token.text}"',
        where=Source(text, file).where(token.offset),
        hint=_OF_OTHER_PROGRAMS.get(
            token.text, "it is neither a net nor a solver; another program, or a fork of Caffe, may read it"
        ),
    )


def _note_deprecated(parsed: Parsed[Any], checked: Checked) -> None:
    """Note each deprecated field once, at its first place, and its replacement."""
    told = set()
    for path in parsed.offsets:
        names = [step for step in path if isinstance(step, str)]
        instead = replacement(parsed.message.DESCRIPTOR, names)
        if instead and names[-1] not in told:
            told.add(names[-1])
            checked.note(f"{names[-1]} is deprecated", parsed.where(*path), f"Write {instead} in its place")


def _note_idle(parsed: Parsed[Any], checked: Checked) -> None:
    """Note each field of a fork that has no effect here once, at its first place."""
    first: dict[str, Path] = {}
    for path, field_ in set_fields(parsed.message):
        if field_.idle and first.setdefault(field_.key, path) == path:
            checked.note(f"{path[-1]} has no effect here: it changes no result in {field_.forks}", parsed.where(*path))


# -- solvers -----------------------------------------------------------------------------------------------------------


def _check_solver(solver: Parsed[SolverParameter], checked: Checked) -> None:
    p = solver.message
    if any(not isinstance(problem, (UnknownField, FieldGivenTwice)) for problem in solver.problems):
        return
    try:
        upgrade_solver(solver)
        rule = solver_class(solver)
    except CaffeError as error:
        checked.tell(error)
        return
    for problem in rule.problems(solver):
        checked.tell(problem)
    if not p.HasField("lr_policy"):
        for problem in policy_problems(solver):
            checked.tell(problem)
    inside: Iterable[tuple[str | int, ...]] = chain(
        ((name,) for name in ("net_param", "train_net_param") if p.HasField(name)),
        (("test_net_param", index) for index in range(len(p.test_net_param))),
    )
    for path in inside:
        _check_layers(solver.sub(*path), checked, [])
    named = [(name, (name,)) for name in ("net", "train_net") if p.HasField(name)]
    for path in [*(getattr(p, name) for name, _ in named), *p.test_net]:
        file = net_file(path, solver)
        if os.path.isfile(file):
            checked.nets.append(file)
        else:
            place = next((at for at in solver.offsets if solver.at(*at) == path), ())
            checked.note(
                f"there is no net {path!r} here", solver.where(*place), "paths start from the working directory"
            )


# -- nets --------------------------------------------------------------------------------------------------------------


def _check_net(net: Parsed[NetParameter], checked: Checked) -> None:
    suspects = [problem for problem in net.problems if problem.where]
    try:
        upgrade_net(net)
    except CaffeError as error:
        checked.tell(error)
        return
    sure = all(
        isinstance(problem, FieldGivenTwice)
        or (problem.layer and isinstance(problem, (UnknownField, UnknownLayerType)))
        for problem in suspects
    )
    _check_layers(net, checked, [problem.where for problem in suspects if problem.where], sure)


def _check_layers(
    net: Parsed[NetParameter], checked: Checked, suspects: Sequence[Where], connected: bool = True
) -> None:
    """Outline a net in every state that it seems to be meant for.

    ``suspects`` are places that could not be read: of the layers around them only unknown types are reported. The same
    applies to all layers if the net is not ``connected``: then a layer or the name of a blob may have been missed.
    """
    places = net.layers
    doubtful = {_around(places, place) for place in suspects}
    layers = [
        PlacedLayer(param, where, index in doubtful, partial(net.where, "layer", index))
        for index, (param, where) in enumerate(zip(net.message.layer, places, strict=True))
    ]
    views = list(_views(layers, net.message.state))
    sound = {layer.where for view in views if view.meant for layer in view.kept}
    told: set[Where | None] = set()
    for view in views:
        fresh = [p for p in view.problems if p.where not in told and (view.meant or p.where not in sound)]
        for problem in fresh:
            if connected or isinstance(problem, UnknownLayerType):
                problem.what += _only_in(view, views, problem.where)
                checked.tell(problem)
        told.update(problem.where for problem in fresh)
    meanings = {place: meaning for view in reversed(views) for place, meaning in view.meanings.items()}
    alike = Counter(meanings.values())
    for layer in layers:
        meaning = meanings.get(layer.where, "")
        if others := alike.pop(meaning, 0):  # at the first layer of those with this meaning
            more = f", as {others - 1} more are" if others > 1 else ""
            checked.note(f"taken for {meaning}{more}", layer.where or Where(checked.file), layer=layer)
        module = layer.param.python_param.module
        if layer.param.type == "Python" and module and not finds_module(module, layer.where):
            checked.note(
                f"the module {module!r} is not here", layer.where or Where(checked.file), layer=layer,
                hint="it is needed to run the net; the check goes on without it",
            )  # fmt: skip


def _around(places: Sequence[Where], place: Where) -> int:
    """Return the index of the layer that a place belongs to."""
    starts = [(where.line, where.column) for where in places]
    return bisect.bisect_right(starts, (place.line, place.column)) - 1


@dataclass
class _View:
    """A net in one state: the layers in it, their problems, and whether the net seems to be meant for that state.

    ``meanings`` are those of layers whose names mean several ones, by place.
    """

    state: NetState
    kept: Sequence[PlacedLayer]
    meant: bool
    problems: list[CaffeError]
    meanings: dict[Where | None, str]

    @functools.cached_property
    def sound(self) -> set[Where | None]:
        """The places of the layers without a problem. Read it only when all problems are known."""
        return {layer.where for layer in self.kept} - {problem.where for problem in self.problems}


def _views(layers: Sequence[PlacedLayer], base: NetState) -> Iterator[_View]:
    """Yield a view for each state that selects different layers.

    A state is meant if its layers find each other's blobs, as far as the rules go; no rule says which stages belong
    together. TRAIN and TEST are also meant if they have their own data.
    """
    seen = set()
    for state in _states(layers, base):
        kept = filter_layers(layers, state, lambda error: None)
        chosen = frozenset(map(id, kept))
        if chosen in seen:
            continue
        seen.add(chosen)
        left_out = [layer for layer in layers if id(layer) not in chosen]
        plain = not state.stage and not state.level
        problems: list[CaffeError] = []
        outline = Outline(layers, state, problems.append)
        meanings = {node.where: node.layer.meaning for node in outline.nodes if node.layer.meaning}
        meant = (plain and _has_data(state.phase, kept, left_out)) or _find_each_other(kept, left_out)
        yield _View(state, kept, meant, problems, meanings)


def _states(layers: Sequence[PlacedLayer], base: NetState) -> Iterator[NetState]:
    """Yield TEST and TRAIN, then the states that the layers' rules ask for."""
    rules = [rule for layer in layers for rule in (*layer.param.include, *layer.param.exclude)]
    asked = [base, *(_asked_by(rule, stages) for rule in rules for stages in (rule.stage, rule.not_stage))]
    told: list[NetState] = []
    for wanted in asked:
        for phase in (TEST, TRAIN):
            state = NetState(phase=phase, level=wanted.level, stage=dict.fromkeys((*base.stage, *wanted.stage)))
            if state not in told and len(told) < MOST_STATES:
                told.append(state)
                yield state


def _asked_by(rule: NetStateRule, stages: Iterable[str]) -> NetState:
    return NetState(level=rule.min_level if rule.HasField("min_level") else rule.max_level, stage=stages)


def _has_data(phase: int, kept: Sequence[PlacedLayer], left_out: Sequence[PlacedLayer]) -> bool:
    """Return whether layers without bottoms make data: if such layers are left out, also a blob that these would make.

    A net with data for TRAIN alone may still have constants in TEST. Nobody trains from an Input.
    """
    types = {layer.param.type for layer in kept if not layer.param.bottom}
    mine, others = (
        {top for layer in some if not layer.param.bottom for top in layer.param.top} for some in (kept, left_out)
    )
    return bool(types - {"Input"} if phase == TRAIN else types) and (not others or not mine.isdisjoint(others))


def _find_each_other(kept: Sequence[PlacedLayer], left_out: Sequence[PlacedLayer]) -> bool:
    """Return whether no layer lacks a blob that another state would make, and no blob is made twice."""
    elsewhere = {top for layer in left_out for top in layer.param.top}
    made: set[str] = set()
    for layer in kept:
        bottom, top = list(layer.param.bottom), list(layer.param.top)
        if any(name not in made and name in elsewhere for name in bottom):
            return False
        if any(name in made and bottom[i : i + 1] != [name] for i, name in enumerate(top)):
            return False
        made.update(top)
    return True


def _only_in(view: _View, views: Sequence[_View], place: Where | None) -> str:
    """Name the state in which a layer has a problem, if it has none in another state; else return an empty string."""
    if not any(other.meant and place in other.sound for other in views):
        return ""
    phase = caffe_pb2.Phase.Name(view.state.phase)
    return f" (in {phase}" + "".join(f", stage {stage!r}" for stage in view.state.stage) + ")"
