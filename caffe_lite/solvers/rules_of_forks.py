"""Update rules that forks add: SAG, AdaMax, AdamW, AdamWR."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import cos, pi

from ..errors import SolverError
from ..ops.array import Array
from ..proto.caffe_pb2 import SolverParameter
from ..proto.parsed import Parsed
from .local_rates import damping, larc
from .rules import AdamSolver, SGDSolver, SubtractingSolver, fade
from .schedules import Rates
from .solver import setting_error

_ABOVE_0 = 1e-7


class SAGSolver(SGDSolver):
    """NVIDIA's SAG, a mean of gradients: h = momentum h + (1 - momentum) g, w -= rate h.

    With larc, the factor is larc_eta |w| / |h|, with h from before the update; with larc_turbo, times 1 minus the
    damping from the third iteration on.
    Source: NVIDIA's sag_solver.cu. Differences: on CPUs, the fork computes SGD.
    """

    type = "SAG"
    resumes = ()
    regularizations = ("L2", "WD")
    ignores = (*SGDSolver.ignores, "local_lr_auto")

    def change(
        self, w: Array, g: Array, rate: Array | float, momentum: Array | float, decay: Array | float, *history: Array
    ) -> None:
        h = history[0]
        h *= momentum
        h += (1 - momentum) * (g + decay * w if decay else g)
        w -= rate * h

    def larc(self, w: Array, g: Array, momentum: Array | float, *history: Array) -> Array:
        factor = larc(self.ops, self.param, w, history[0])
        return factor * (1 - damping(self.ops, g, *history)) if self._boosts() else factor

    def _boosts(self) -> bool:
        return self.param.larc_turbo and self.iter > 1

    def _settings(self) -> Hashable:
        return super()._settings(), self._boosts()


class AdaMaxSolver(SubtractingSolver):
    """AdaMax: m = momentum m + (1 - momentum) g, v = max(momentum2 v + 1e-7, |g|),
    w -= rate / (1 - momentum^t) m / v, with t from 1.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015; adamax_solver.cpp of a branch of BVLC's.
    """

    type = "AdaMax"
    histories = 2
    fractions = ()
    proper_fractions = ("momentum", "momentum2")

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        p, (m, v) = self.param, history
        fade(m, p.momentum, g)
        v[...] = self.ops.maximum(v * p.momentum2 + _ABOVE_0, self.ops.abs(g))
        return rate * m / v

    def adjusted(self, rates: Rates) -> Rates:
        return rates._replace(rate=rates.rate / (1 - self.param.momentum ** (self.iter + 1)))


class AdamWSolver(AdamSolver):
    """AdamW: as Adam, but weight decay stays out of the gradient, and the rate does not scale it:
    w -= rate sqrt(1 - momentum2^t) / (1 - momentum^t) m / (sqrt(v) + delta) + weight_decay w.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019; zjwzcnjsy/caffe's adamw_solver.cu.
    Differences: the fork adds weight decay to the gradient, too; on CPUs, it computes nothing but weight decay.
    """

    type = "AdamW"
    regularizations = ("L2",)
    ignores = (*AdamSolver.ignores, "weight_decay_policy")

    def change(
        self, w: Array, g: Array, rate: Array | float, momentum: Array | float, decay: Array | float, *history: Array
    ) -> None:
        w -= self.update(g, rate, *history) + decay * w


class AdamWRSolver(AdamWSolver):
    """AdamWR: as AdamW; with_restart (false) multiplies what is subtracted by (1 + cos(pi i / n)) / 2 in iteration i of
    a period of n, first of cosine_decay_steps (1000) iterations, then each cosine_decay_mult (2) times as long.

    Source: Loshchilov and Hutter, as for AdamW; Yagami123/Caffe-AdamW-AdamWR. Differences: the fork adds weight decay
    to the gradient, too, and stops in its second period unless cosine_decay_mult is 2.
    """

    type = "AdamWR"
    ignores = tuple(field for field in AdamWSolver.ignores if field != "with_restart")

    @classmethod
    def problems(cls, solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
        yield from super().problems(solver)
        for field in ("cosine_decay_steps", "cosine_decay_mult"):
            value = getattr(solver.message, field)
            if value < 1:
                yield setting_error(solver, field, f"{field} is {value}", "it must be at least 1")

    def adjusted(self, rates: Rates) -> Rates:
        rates = super().adjusted(rates)
        if not self.param.with_restart:
            return rates
        factor = restarting(self.iter, self.param.cosine_decay_steps, self.param.cosine_decay_mult)
        return rates._replace(rate=rates.rate * factor, decay=rates.decay * factor)


def restarting(iteration: int, length: int, growth: int) -> float:
    """Return half a cosine wave's value, from 1 to 0, in periods of which each is ``growth`` times as long."""
    if growth == 1:
        iteration %= length
    while iteration >= length:
        iteration -= length
        length *= growth
    return 0.5 + 0.5 * cos(pi * iteration / length)
