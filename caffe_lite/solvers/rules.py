"""The original's update rules: the change to a parameter, from its gradient and the history that the rule keeps."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import isfinite, sqrt
from typing import Any, ClassVar

from ..blobs.lending import refresh
from ..errors import SolverError
from ..logs.log import logger
from ..ops.array import Array
from ..ops.base import Results
from ..proto.caffe_pb2 import SolverParameter
from ..proto.parsed import Parsed
from . import schedules
from .learning_rate import learning_rate
from .local_rates import damping, larc, lars
from .schedules import Rates
from .solver import Solver, setting_error

_SETTINGS = (
    *("momentum", "momentum2", "rms_decay", "delta", "weight_decay", "regularization_type"),
    *("clip_gradients", "iter_size", "clip_weights", "clamp_weights_lower", "clamp_weights_upper"),
    *("momentum_policy", "weight_decay_policy", "with_restart", "local_lr_auto", "local_gw_ratio"),
    *("larc", "larc_policy", "larc_eta", "larc_turbo"),
)
_TINY = 1e-37
_LARC_POLICIES = ("scale", "clip")


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum: v = momentum v + rate g, w -= v.

    The base class of all rules. ``history`` holds ``histories`` arrays per parameter: the first array of every
    parameter, then the second, and so on. Parameters and history are updated in place. ``fractions`` are settings from
    0 to 1, ``proper_fractions`` those that must be less than 1. ``ignores`` are settings of other rules.

    Reads of forks: local_lr_auto, larc, momentum_policy and weight_decay_policy; regularization_type "WD", which
    subtracts rate weight_decay w beside v; clip_weights, which scales all parameters down to this L2 norm after an
    update; clamp_weights_lower and clamp_weights_upper, bounds of their values; disabled_update, which leaves
    everything as it is, but counts iterations.
    """

    type = "SGD"
    resumes: ClassVar[Sequence[str]] = ("Nesterov",)
    histories: ClassVar[int] = 1
    refuses_momentum: ClassVar[bool] = False
    fractions: ClassVar[Sequence[str]] = ("momentum",)
    proper_fractions: ClassVar[Sequence[str]] = ()
    regularizations: ClassVar[Sequence[str]] = ("L1", "L2", "WD")
    ignores: ClassVar[Sequence[str]] = ("with_restart",)

    def __init__(self, param: Any, **options: Any) -> None:
        super().__init__(param, **options)
        shapes = [learned.blob.shape for learned in self._net.learnable_params]
        self.history = [self.ops.zeros(shape) for _ in range(self.histories) for shape in shapes]
        if self.param.larc_turbo:
            self.correlations = [self.ops.zeros(()) for _ in shapes]
        if self.compile:
            self._compiled = self.ops.compile(f"the {self.type} update", self._compiled_update)

    @classmethod
    def problems(cls, solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
        yield from super().problems(solver)
        p, field, kind = solver.message, "regularization_type", solver.message.regularization_type
        if (p.weight_decay or p.max_weight_decay) and kind not in cls.regularizations:
            yield setting_error(
                solver, field, f"unknown regularization type {kind!r}", f"use {' or '.join(cls.regularizations)}"
            )
        if cls.refuses_momentum and p.momentum:
            what = f"Momentum cannot be used with {cls.type}"
            yield setting_error(solver, "momentum", what, "remove momentum, or set it to 0")
        for field in (*cls.fractions, *cls.proper_fractions):
            value, proper = getattr(p, field), field in cls.proper_fractions
            if isfinite(value) and not (0 <= value < 1 or (value == 1 and not proper)):
                what = f"{field} {value:g} should lie between 0 and 1"
                yield setting_error(
                    solver, field, what, "give 0 or more, and less than 1" if proper else "give one of 0 to 1"
                )
        for field in cls.ignores:
            if getattr(p, field) not in (False, "fixed"):
                yield setting_error(solver, field, f"{field} has no effect on {cls.type}", "remove it")
        yield from schedules.problems(solver)
        if p.larc_policy not in _LARC_POLICIES:
            what = f"unknown larc_policy {p.larc_policy!r}"
            yield setting_error(solver, "larc_policy", what, f"policies: {', '.join(_LARC_POLICIES)}")
        if p.larc and p.local_lr_auto:
            yield setting_error(solver, "larc", "larc and local_lr_auto exclude each other", "keep one of them")
        if p.larc_turbo and not p.larc:
            yield setting_error(solver, "larc_turbo", "larc_turbo has no effect without larc", "set larc: true")

    def change(
        self, w: Array, g: Array, rate: Array | float, momentum: Array | float, decay: Array | float, *history: Array
    ) -> None:
        """Update a parameter and its history arrays from its gradient, learning rate and weight decay (L2)."""
        self.ops.momentum_step(w, g, history[0], rate, momentum, decay)

    def larc(self, w: Array, g: Array, momentum: Array | float, *history: Array) -> Array:
        """Return LARC's factor of a parameter's rate; with larc_turbo, its correlation follows its history arrays."""
        factor = larc(self.ops, self.param, w, g, 1 - momentum)
        return factor - damping(self.ops, g, *history) if self.param.larc_turbo else factor

    def adjusted(self, rates: Rates) -> Rates:
        """Return the rates of this iteration as the rule corrects them."""
        return rates

    def apply_update(self) -> None:
        """Clip, average and regularize the net's gradients, update its parameters, and count the iteration.

        Unlike in the original, the parameters' diffs stay the gradients.
        """
        p = self.param
        rates = self._next_rates()
        if self._due(p.display):
            self._log_rates(rates)
        if p.disabled_update:
            self.iter += 1
            return
        rates = self.adjusted(rates)
        if self._team and p.clip_weights >= 0:
            self._team.take_statistics()  # they are part of the norm
        params = self.net.learnable_params
        gradients, weights = [q.blob.diff for q in params], [q.blob.data for q in params]
        history = [*self.history, *self.correlations]
        with self.ops.quiet():
            if self.compile:
                arguments = [*map(self.ops.scalar, rates), *gradients], [*weights, *history]
                norms, _ = self._compiled(*arguments, settings=self._settings())
            else:
                norms = self._update(rates, gradients, weights, history)
        for learned in params:
            refresh(learned.blob)
        if p.clip_gradients >= 0:
            _log_clipping("Gradient", "gradients", self.ops.number(norms[0]), p.clip_gradients)
        if p.clip_weights >= 0:
            _log_clipping("Weight", "weights", self.ops.number(norms[1]), p.clip_weights)
        self.iter += 1

    def _update(
        self,
        rates: Sequence[Array | float],
        gradients: Sequence[Array],
        weights: Sequence[Array],
        history: Sequence[Array],
    ) -> Sequence[Array]:
        """Update weights and history; return the L2 norms of all gradients together and of all weights together.

        A norm that nothing depends on is 0.
        """
        p, norm, (rate, momentum, weight_decay) = self.param, self.ops.scalar(0), rates
        kind = p.regularization_type
        scale: Array | float = 1.0 / p.iter_size
        if p.clip_gradients >= 0:
            norm, factor = self._clipping(gradients, p.clip_gradients)
            scale = scale * factor
        for index, (learned, w, g) in enumerate(zip(self.net.learnable_params, weights, gradients, strict=True)):
            if p.iter_size > 1 or p.clip_gradients >= 0:
                g = g * scale
            own = history[index :: len(weights)]
            local = self._local_rate(rate, learned.lr_mult, w, g, momentum, *own)
            decays = learned.decay_mult and (p.weight_decay or p.weight_decay_policy != "fixed")
            decay, shrinking = weight_decay * learned.decay_mult if decays else 0.0, None
            if decays and kind == "L1":
                g, decay = g + decay * self.ops.sign(w), 0.0
            elif decays and kind == "WD":
                shrinking, decay = local * decay * w, 0.0
            elif decays and p.weight_decay_policy != "fixed":
                g, decay = g + decay * w, 0.0
            self.change(w, g, local, momentum, decay, *own)
            if shrinking is not None:
                w -= shrinking
        return norm, self._bound(weights)

    def _local_rate(
        self, rate: Array | float, lr_mult: float, w: Array, g: Array, momentum: Array | float, *history: Array
    ) -> Array | float:
        """Return the learning rate of one parameter; its gradient is that of the loss, without weight decay."""
        p = self.param
        if lr_mult <= 0 or not (p.larc or p.local_lr_auto):
            return rate * lr_mult
        if p.local_lr_auto:
            return rate * lars(self.ops, p, w, g)
        factor = self.larc(w, g, momentum, *history)
        return self.ops.where(factor < rate, factor, rate) if p.larc_policy == "clip" else rate * factor

    def _bound(self, weights: Sequence[Array]) -> Array:
        """Clip and clamp all weights; return the norm that they had, or 0 if they are not clipped."""
        p, norm = self.param, self.ops.scalar(0)
        if p.clip_weights >= 0:
            norm, factor = self._clipping(weights, p.clip_weights)
            for w in weights:
                w *= factor
        if p.HasField("clamp_weights_lower") or p.HasField("clamp_weights_upper"):
            for w in weights:
                w[...] = self.ops.at_most(self.ops.at_least(w, p.clamp_weights_lower), p.clamp_weights_upper)
        return norm

    def _clipping(self, arrays: Sequence[Array], limit: float) -> tuple[Array, Array]:
        """Return the L2 norm of all arrays together, and the factor that makes it no more than a limit."""
        norm = self.ops.sqrt(sum((self.ops.sum_of_squares(x) for x in arrays), self.ops.scalar(0)))
        return norm, limit / self.ops.at_least(norm, max(limit, _TINY))

    def _settings(self) -> Hashable:
        """Return everything that ``_update`` depends on besides its arguments."""
        p = self.param
        multipliers = [(q.lr_mult, q.decay_mult) for q in self.net.learnable_params]
        return *[getattr(p, name) for name in _SETTINGS], *multipliers

    def _compiled_update(self, rate: Array, momentum: Array, decay: Array, *arrays: Array) -> Results[Array]:
        p, count = self.param, len(self.net.learnable_params)
        gradients, weights, history = arrays[:count], arrays[count : 2 * count], arrays[2 * count :]
        rates = (
            rate,
            p.momentum if p.momentum_policy == "fixed" else momentum,
            p.weight_decay if p.weight_decay_policy == "fixed" and not p.with_restart else decay,
        )
        return self._update(rates, gradients, weights, history), None

    def _next_rates(self) -> Rates:
        """Return the rates of this update, and go on counting the steps that the policy has taken."""
        self._check_policy()
        self._count_steps()
        p = self.param
        rate = learning_rate(p, self.iter, self.current_step)
        return Rates(rate, schedules.momentum(p, self.iter, rate), schedules.weight_decay(p, self.iter))

    def _log_rates(self, rates: Rates) -> None:
        """Log the learning rate, and as NVIDIA's fork the others that a policy changes."""
        p, others = self.param, ""
        if p.momentum_policy != "fixed":
            others += f", m = {rates.momentum:g}, lrm = {rates.rate / max(1 - rates.momentum, _TINY):g}"
        if p.weight_decay_policy != "fixed":
            others += f", wd = {rates.decay:g}"
        logger.info("Iteration %d, lr = %g%s", self.iter, rates.rate, others)


def _log_clipping(what: str, things: str, norm: float, limit: float) -> None:
    if norm > limit:
        logger.info(
            "%s clipping: scaling down %s (L2 norm %g > %g) by scale factor %g", what, things, norm, limit, limit / norm
        )


class SubtractingSolver(SGDSolver):
    """A rule defined by the value that it subtracts. Forks leave out what they add to SGD."""

    resumes: ClassVar[Sequence[str]] = ()
    regularizations: ClassVar[Sequence[str]] = ("L1", "L2")
    ignores: ClassVar[Sequence[str]] = (*SGDSolver.ignores, "larc", "local_lr_auto", "momentum_policy")

    def change(
        self, w: Array, g: Array, rate: Array | float, momentum: Array | float, decay: Array | float, *history: Array
    ) -> None:
        w -= self.update(g + decay * w if decay else g, rate, *history)

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        """Compute the value to subtract from a parameter, from its gradient, learning rate and history arrays."""
        raise NotImplementedError


class NesterovSolver(SubtractingSolver):
    """Nesterov's accelerated gradient: v = momentum v + rate g, w -= (1 + momentum) v - momentum (v before)."""

    type = "Nesterov"
    resumes = ("SGD",)

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        (v,) = history
        fresh = rate * g
        v *= self.param.momentum
        v += fresh
        return fresh + self.param.momentum * v


class AdaGradSolver(SubtractingSolver):
    """AdaGrad: h += g^2, w -= rate g / (sqrt(h) + delta)."""

    type = "AdaGrad"
    refuses_momentum = True
    fractions = ()

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        (h,) = history
        h += g * g
        return rate * g / (self.ops.sqrt(h) + self.param.delta)


class RMSPropSolver(SubtractingSolver):
    """RMSProp: h = rms_decay h + (1 - rms_decay) g^2, w -= rate g / (sqrt(h) + delta)."""

    type = "RMSProp"
    refuses_momentum = True
    fractions = ()
    proper_fractions = ("rms_decay",)

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        (h,) = history
        fade(h, self.param.rms_decay, g * g)
        return rate * g / (self.ops.sqrt(h) + self.param.delta)


class AdaDeltaSolver(SubtractingSolver):
    """AdaDelta, with momentum as its decay: h = momentum h + (1 - momentum) g^2, u = g sqrt((k + delta) / (h + delta)),
    k = momentum k + (1 - momentum) u^2, w -= rate u."""

    type = "AdaDelta"
    histories = 2

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        p, (h, k) = self.param, history
        fade(h, p.momentum, g * g)
        u = g * self.ops.sqrt((k + p.delta) / (h + p.delta))
        fade(k, p.momentum, u * u)
        return rate * u


class AdamSolver(SubtractingSolver):
    """Adam: m = momentum m + (1 - momentum) g, v = momentum2 v + (1 - momentum2) g^2,
    w -= rate sqrt(1 - momentum2^t) / (1 - momentum^t) m / (sqrt(v) + delta), with t from 1."""

    type = "Adam"
    histories = 2
    fractions = ()
    proper_fractions = ("momentum", "momentum2")

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        p, (m, v) = self.param, history
        fade(m, p.momentum, g)
        fade(v, p.momentum2, g * g)
        return rate * m / (self.ops.sqrt(v) + p.delta)

    def adjusted(self, rates: Rates) -> Rates:
        p, t = self.param, self.iter + 1
        return rates._replace(rate=rates.rate * sqrt(1 - p.momentum2**t) / (1 - p.momentum**t))


def fade(history: Array, decay: float, value: Array) -> None:
    """Move a running average towards a value, in place."""
    history *= decay
    history += (1 - decay) * value
