"""Policies of momentum and weight decay, which NVIDIA's fork adds: a value for each iteration."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

from ..errors import SolverError
from ..proto.caffe_pb2 import SolverParameter
from ..proto.parsed import Parsed
from .solver import setting_error

_MOMENTUM_POLICIES = ("fixed", "poly", "opt")
_DECAY_POLICIES = ("fixed", "poly")


class Rates(NamedTuple):
    """What the policies give for one update."""

    rate: float
    momentum: float
    decay: float


def momentum(p: SolverParameter, iteration: int, rate: float) -> float:
    """Return the momentum at this iteration.

    With momentum_policy "poly", it goes from momentum to max_momentum as (iteration / max_iter)^momentum_power; with
    "opt", it is (1 - sqrt(rate) / 2)^2, and at most max_momentum if that is given.
    """
    if p.momentum_policy == "poly":
        return p.momentum + (p.max_momentum - p.momentum) * float((iteration / p.max_iter) ** p.momentum_power)
    if p.momentum_policy == "opt":
        best = (1 - sqrt(rate) / 2) ** 2
        return min(best, p.max_momentum) if p.HasField("max_momentum") else best
    return p.momentum


def weight_decay(p: SolverParameter, iteration: int) -> float:
    """Return the weight decay at this iteration.

    With weight_decay_policy "poly", it goes from weight_decay to max_weight_decay as
    (iteration / max_iter)^weight_decay_power.
    """
    if p.weight_decay_policy != "poly":
        return p.weight_decay
    progress = float((iteration / p.max_iter) ** p.weight_decay_power)
    return p.weight_decay + (p.max_weight_decay - p.weight_decay) * progress


def problems(solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
    """Yield an error for every setting of these policies that cannot work."""
    p = solver.message
    for field, known in (("momentum_policy", _MOMENTUM_POLICIES), ("weight_decay_policy", _DECAY_POLICIES)):
        policy = getattr(p, field)
        if policy not in known:
            yield setting_error(solver, field, f"unknown {field} {policy!r}", f"policies: {', '.join(known)}")
        if policy == "poly" and p.max_iter <= 0:
            yield setting_error(solver, field, f'{field}: "poly" needs a max_iter of at least 1', "set max_iter")
    for field in ("momentum_power", "weight_decay_power"):
        if getattr(p, field) < 0:
            yield setting_error(solver, field, f"{field} is {getattr(p, field):g}", "it must be at least 0")
    if not 0 <= p.max_momentum <= 1:
        what = f"max_momentum {p.max_momentum:g} should lie between 0 and 1"
        yield setting_error(solver, "max_momentum", what, "give one of 0 to 1")
