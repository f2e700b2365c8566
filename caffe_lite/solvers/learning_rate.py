"""Learning-rate policies, and ramps before them: a rate for each iteration."""

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
    "plateau": lambda p, iteration, step: p.gamma**step,
    "stepearly": lambda p, iteration, step: p.gamma**step,
}
_POLICIES = (*_FACTORS, "multifixed")
_NEEDS_POSITIVE = {
    "step": ("stepsize",),
    "sigmoid": ("stepsize",),
    "poly": ("max_iter",),
    "stepearly": ("stepearly", "test_interval"),
}
_NEEDS_GAMMA = ("step", "exp", "inv", "multistep", "sigmoid", "plateau", "stepearly")


def check_policy(p: SolverParameter) -> None:
    """Raise a SolverError if the policy is unknown or lacks a setting; the original finds out in the first update."""
    if p.lr_policy not in _POLICIES:
        near = nearest(p.lr_policy, _POLICIES)
        raise SolverError(
            f"unknown learning rate policy {p.lr_policy!r}" if p.lr_policy else "lr_policy is not given",
            hint=f"did you mean {near!r}?" if near else f"policies: {', '.join(_POLICIES)}",
        )
    for positive in _NEEDS_POSITIVE.get(p.lr_policy, ()):
        if getattr(p, positive) <= 0:
            raise SolverError(f"lr_policy {p.lr_policy!r} needs a {positive} of at least 1", hint=f"set {positive}")
    if p.lr_policy in _NEEDS_GAMMA and p.gamma < 0:
        raise SolverError(f"lr_policy {p.lr_policy!r} needs a gamma of at least 0, not {p.gamma:g}")
    if p.lr_policy == "multifixed" and not 0 < len(p.stagelr) == len(p.stageiter):
        raise SolverError(
            f"lr_policy 'multifixed' has {len(p.stagelr)} stagelr for {len(p.stageiter)} stageiter",
            hint="give as many of the one as of the other: a rate, and the last iteration that has it",
        )
    if p.lr_policy == "poly" and p.min_lr > p.base_lr:
        raise SolverError(f"min_lr {p.min_lr:g} is more than base_lr {p.base_lr:g}", hint="make it smaller")
    if p.warmup_iter > 0 and p.rampup_interval > 0:
        raise SolverError("warmup_iter and rampup_interval exclude each other", hint="keep one of the two")


def next_step(p: SolverParameter, iteration: int, step: int) -> int:
    """Return the number of steps taken at this iteration, after ``step`` before it; multistep takes one at a time.

    The steps of plateau and stepearly depend on more than the iteration: see ``progress``.
    """
    if is_ramp(p, iteration):
        return step
    if p.lr_policy == "step":
        return iteration // p.stepsize
    if p.lr_policy == "multistep" and step < len(p.stepvalue) and iteration >= p.stepvalue[step]:
        return step + 1
    return step


def learning_rate(p: SolverParameter, iteration: int, step: int) -> float:
    """Return the rate at this iteration: that of the ramp, if there is one and it lasts, else that of the policy.

    Ramps go from warmup_start_lr to base_lr in warmup_iter iterations, linearly (Intel's), or from rampup_lr in
    rampup_interval iterations, with the square of the iteration (NVIDIA's). No rate is below min_lr, where poly ends.
    Differences: past max_iter, the original's poly is negative or NaN; here it is an error. Builds of Intel's fork
    without ENABLE_SGD_FUSION also multiply the momentum by the ratio of this rate and the one before it.
    """
    return max(_ramp(p, iteration) if is_ramp(p, iteration) else _by_policy(p, iteration, step), p.min_lr)


def is_ramp(p: SolverParameter, iteration: int) -> bool:
    """Return whether the rate of an iteration is that of a ramp."""
    return iteration < max(p.warmup_iter, p.rampup_interval)


def _ramp(p: SolverParameter, iteration: int) -> float:
    if iteration < p.warmup_iter:
        return float(p.warmup_start_lr + (p.base_lr - p.warmup_start_lr) * iteration / p.warmup_iter)
    return float(p.rampup_lr + (p.base_lr - p.rampup_lr) * (iteration / p.rampup_interval) ** 2)


def _by_policy(p: SolverParameter, iteration: int, step: int) -> float:
    if p.lr_policy == "multifixed":
        stages = zip(p.stageiter, p.stagelr, strict=True)
        return next((rate for last, rate in stages if iteration <= last), p.stagelr[-1])
    if p.lr_policy == "poly" and iteration > p.max_iter:
        raise SolverError(
            f"lr_policy 'poly' ends at max_iter {p.max_iter}, and this is iteration {iteration}", hint="raise max_iter"
        )
    least = p.min_lr if p.lr_policy == "poly" else 0.0
    try:
        return least + (p.base_lr - least) * _FACTORS[p.lr_policy](p, iteration, step)
    except (OverflowError, ZeroDivisionError):
        raise SolverError(
            f"lr_policy {p.lr_policy!r} gives no finite learning rate at iteration {iteration}",
            hint="check gamma and power",
        ) from None
