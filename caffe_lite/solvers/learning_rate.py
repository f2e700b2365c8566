"""Learning-rate policies: base_lr times a factor that depends on the iteration."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import SolverError
from ..proto.caffe_pb2 import SolverParameter
from ..text.spelling import nearest

# Functions of the settings, the iteration and the number of steps taken.
_FACTORS: dict[str, Callable[[SolverParameter, int, int], float]] = {
    "fixed": lambda p, iteration, step: 1.0,
    "step": lambda p, iteration, step: p.gamma**step,
    "exp": lambda p, iteration, step: p.gamma**iteration,
    "inv": lambda p, iteration, step: (1 + p.gamma * iteration) ** -p.power,
    "multistep": lambda p, iteration, step: p.gamma**step,
    "poly": lambda p, iteration, step: (1 - iteration / p.max_iter) ** p.power,
    # The same as 1 / (1 + exp(-x)), which could overflow.
    "sigmoid": lambda p, iteration, step: 0.5 + 0.5 * math.tanh(0.5 * p.gamma * (iteration - p.stepsize)),
}
_NEEDS_POSITIVE = {"step": "stepsize", "sigmoid": "stepsize", "poly": "max_iter"}
_NEEDS_GAMMA = ("step", "exp", "inv", "multistep", "sigmoid")


def check_policy(p: SolverParameter) -> None:
    """Raise a SolverError if the policy is unknown or lacks a setting; the original finds out in the first update."""
    if p.lr_policy not in _FACTORS:
        near = nearest(p.lr_policy, _FACTORS)
        raise SolverError(
            f"unknown learning rate policy {p.lr_policy!r}" if p.lr_policy else "lr_policy is not given",
            hint=f"did you mean {near!r}?" if near else f"policies: {', '.join(_FACTORS)}",
        )
    positive = _NEEDS_POSITIVE.get(p.lr_policy)
    if positive and getattr(p, positive) <= 0:
        raise SolverError(f"lr_policy {p.lr_policy!r} needs a {positive} of at least 1", hint=f"set {positive}")
    if p.lr_policy in _NEEDS_GAMMA and p.gamma < 0:
        raise SolverError(f"lr_policy {p.lr_policy!r} needs a gamma of at least 0, not {p.gamma:g}")


def next_step(p: SolverParameter, iteration: int, step: int) -> int:
    """Return the number of steps taken at this iteration, after ``step`` before it; multistep takes one at a time."""
    if p.lr_policy == "step":
        return iteration // p.stepsize
    if p.lr_policy == "multistep" and step < len(p.stepvalue) and iteration >= p.stepvalue[step]:
        return step + 1
    return step


def learning_rate(p: SolverParameter, iteration: int, step: int) -> float:
    """Return the rate at this iteration. Past max_iter, the original's poly is negative or NaN; here it is an error."""
    if p.lr_policy == "poly" and iteration > p.max_iter:
        raise SolverError(
            f"lr_policy 'poly' ends at max_iter {p.max_iter}, and this is iteration {iteration}", hint="raise max_iter"
        )
    try:
        return p.base_lr * _FACTORS[p.lr_policy](p, iteration, step)
    except (OverflowError, ZeroDivisionError):
        raise SolverError(
            f"lr_policy {p.lr_policy!r} gives no finite learning rate at iteration {iteration}",
            hint="check gamma and power",
        ) from None
