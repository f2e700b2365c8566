"""The six update rules: the change to a parameter, from its gradient and the history that the rule keeps."""

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
from .learning_rate import learning_rate, next_step
from .solver import Solver, setting_error

_SETTINGS = (
    *("momentum", "momentum2", "rms_decay", "delta", "weight_decay", "regularization_type"),
    *("clip_gradients", "iter_size"),
)
_TINY = 1e-37


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum: v = momentum v + rate g, w -= v.

    The base class of all rules. ``history`` holds ``histories`` arrays per parameter: the first array of every
    parameter, then the second, and so on. Parameters and history are updated in place. ``fractions`` are settings from
    0 to 1, ``proper_fractions`` those that must be less than 1.
    """

    type = "SGD"
    resumes: ClassVar[Sequence[str]] = ("Nesterov",)
    histories: ClassVar[int] = 1
    refuses_momentum: ClassVar[bool] = False
    fractions: ClassVar[Sequence[str]] = ("momentum",)
    proper_fractions: ClassVar[Sequence[str]] = ()

    def __init__(self, param: Any, **options: Any) -> None:
        super().__init__(param, **options)
        shapes = [learned.blob.shape for learned in self._net.learnable_params]
        self.history = [self.ops.zeros(shape) for _ in range(self.histories) for shape in shapes]
        if self.compile:
            self._compiled = self.ops.compile(f"the {self.type} update", self._compiled_update)

    @classmethod
    def problems(cls, solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
        yield from super().problems(solver)
        field, kind = "regularization_type", solver.message.regularization_type
        if solver.message.weight_decay and kind not in ("L1", "L2"):
            yield setting_error(solver, field, f"unknown regularization type {kind!r}", "use L1 or L2")
        if cls.refuses_momentum and solver.message.momentum:
            what = f"Momentum cannot be used with {cls.type}"
            yield setting_error(solver, "momentum", what, "remove momentum, or set it to 0")
        for field in (*cls.fractions, *cls.proper_fractions):
            value, proper = getattr(solver.message, field), field in cls.proper_fractions
            if isfinite(value) and not (0 <= value < 1 or (value == 1 and not proper)):
                what = f"{field} {value:g} should lie between 0 and 1"
                yield setting_error(
                    solver, field, what, "give 0 or more, and less than 1" if proper else "give one of 0 to 1"
                )

    def change(self, w: Array, g: Array, rate: Array | float, decay: float, *history: Array) -> None:
        """Update a parameter and its history arrays from its gradient, learning rate and weight decay (L2)."""
        self.ops.momentum_step(w, g, history[0], rate, self.param.momentum, decay)

    def correction(self) -> float:
        """Return the factor of this iteration's learning rate."""
        return 1.0

    def apply_update(self) -> None:
        """Clip, average and regularize the net's gradients, update its parameters, and count the iteration.

        Unlike in the original, the parameters' diffs stay the gradients.
        """
        p = self.param
        rate = self._next_rate()
        if self._due(p.display):
            logger.info("Iteration %d, lr = %g", self.iter, rate)
        rate *= self.correction()
        params = self.net.learnable_params
        gradients, weights = [q.blob.diff for q in params], [q.blob.data for q in params]
        with self.ops.quiet():
            if self.compile:
                arguments = [self.ops.scalar(rate), *gradients], [*weights, *self.history]
                (norm,), _ = self._compiled(*arguments, settings=self._settings())
            else:
                norm = self._update(rate, gradients, weights, self.history)
        for learned in params:
            refresh(learned.blob)
        if p.clip_gradients >= 0:
            self._log_clipping(self.ops.number(norm))
        self.iter += 1

    def _update(
        self, rate: Array | float, gradients: Sequence[Array], weights: Sequence[Array], history: Sequence[Array]
    ) -> Array:
        """Update weights and history; return the L2 norm of all gradients together, or 0 if nothing depends on it."""
        p, norm = self.param, self.ops.scalar(0)
        scale: Array | float = 1.0 / p.iter_size
        if p.clip_gradients >= 0:
            norm = self.ops.sqrt(sum((self.ops.sum_of_squares(g) for g in gradients), norm))
            scale = scale * p.clip_gradients / self.ops.at_least(norm, max(p.clip_gradients, _TINY))
        for index, (learned, w, g) in enumerate(zip(self.net.learnable_params, weights, gradients, strict=True)):
            if p.iter_size > 1 or p.clip_gradients >= 0:
                g = g * scale
            decay = p.weight_decay * learned.decay_mult
            if decay and p.regularization_type == "L1":
                g, decay = g + decay * self.ops.sign(w), 0.0
            self.change(w, g, rate * learned.lr_mult, decay, *history[index :: len(weights)])
        return norm

    def _settings(self) -> Hashable:
        """Return everything that ``_update`` depends on besides its arguments."""
        p = self.param
        multipliers = [(q.lr_mult, q.decay_mult) for q in self.net.learnable_params]
        return *[getattr(p, name) for name in _SETTINGS], *multipliers

    def _compiled_update(self, rate: Array, *arrays: Array) -> Results[Array]:
        count = len(self.net.learnable_params)
        gradients, weights, history = arrays[:count], arrays[count : 2 * count], arrays[2 * count :]
        return [self._update(rate, gradients, weights, history)], None

    def _next_rate(self) -> float:
        """Return the rate of this update, and go on counting the steps that the policy has taken."""
        self._check_policy()
        p, before = self.param, self.current_step
        self.current_step = next_step(p, self.iter, before)
        if p.lr_policy == "multistep" and self.current_step > before:
            logger.info("MultiStep Status: Iteration %d, step = %d", self.iter, self.current_step)
        return learning_rate(p, self.iter, self.current_step)

    def _log_clipping(self, norm: float) -> None:
        limit = self.param.clip_gradients
        if norm > limit:
            logger.info(
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm,
                limit,
                limit / norm,
            )


class SubtractingSolver(SGDSolver):
    """A rule defined by the value that it subtracts."""

    resumes: ClassVar[Sequence[str]] = ()

    def change(self, w: Array, g: Array, rate: Array | float, decay: float, *history: Array) -> None:
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
        _fade(h, self.param.rms_decay, g * g)
        return rate * g / (self.ops.sqrt(h) + self.param.delta)


class AdaDeltaSolver(SubtractingSolver):
    """AdaDelta, with momentum as its decay: h = momentum h + (1 - momentum) g^2, u = g sqrt((k + delta) / (h + delta)),
    k = momentum k + (1 - momentum) u^2, w -= rate u."""

    type = "AdaDelta"
    histories = 2

    def update(self, g: Array, rate: Array | float, *history: Array) -> Array:
        p, (h, k) = self.param, history
        _fade(h, p.momentum, g * g)
        u = g * self.ops.sqrt((k + p.delta) / (h + p.delta))
        _fade(k, p.momentum, u * u)
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
        _fade(m, p.momentum, g)
        _fade(v, p.momentum2, g * g)
        return rate * m / (self.ops.sqrt(v) + p.delta)

    def correction(self) -> float:
        p, t = self.param, self.iter + 1
        return sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)


def _fade(history: Array, decay: float, value: Array) -> None:
    """Move a running average towards a value, in place."""
    history *= decay
    history += (1 - decay) * value
