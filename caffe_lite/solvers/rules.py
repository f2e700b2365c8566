"""The six update rules: what is subtracted from a parameter, given its gradient and what the rule remembers."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

from ..log import logger
from ..ops import Array
from .learning_rate import learning_rate, next_step
from .solver import Solver


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum: v = momentum v + rate g, w -= v.

    The base of all rules. ``history`` holds ``histories`` arrays per parameter, first one kind for all of them. The
    parameters and the history are written in place.
    """

    type = "SGD"
    histories: ClassVar[int] = 1

    def __init__(self, param: Any, **options: Any) -> None:
        super().__init__(param, **options)
        shapes = [learned.blob.shape for learned in self.net.learnable_params]
        self.history = [self.ops.zeros(shape) for _ in range(self.histories) for shape in shapes]

    def check_parameters(self) -> None:
        super().check_parameters()
        kind = self.param.regularization_type
        if self.param.weight_decay and kind not in ("L1", "L2"):
            self.refuse("regularization_type", f"unknown regularization type {kind!r}", "use L1 or L2")

    def update(self, g: Array, rate: float, v: Array) -> Array:
        """What to subtract from the parameter, from its gradient, its learning rate and its history arrays."""
        v *= self.param.momentum
        v += rate * g
        return v

    def apply_update(self) -> None:
        """Clip, average and regularize the gradients that the net holds, update its parameters, count the iteration.

        Unlike in the original the parameters' diffs stay the gradients.
        """
        p = self.param
        rate = self._next_rate()
        if self._due(p.display):
            logger.info("Iteration %d, lr = %g", self.iter, rate)
        scale = self._clip_scale() / p.iter_size
        params = self.net.learnable_params
        for index, learned in enumerate(params):
            w, g = learned.blob.data, learned.blob.diff
            if scale != 1:
                g = g * scale
            decay = p.weight_decay * learned.decay_mult
            if decay:
                g = g + decay * (w if p.regularization_type == "L2" else self.ops.sign(w))
            w -= self.update(g, rate * learned.lr_mult, *self.history[index :: len(params)])
        self.iter += 1

    def _next_rate(self) -> float:
        """The rate of this update; the count of steps that the policy has taken goes on."""
        self._check_policy()
        p, before = self.param, self.current_step
        self.current_step = next_step(p, self.iter, before)
        if p.lr_policy == "multistep" and self.current_step > before:
            logger.info("MultiStep Status: Iteration %d, step = %d", self.iter, self.current_step)
        return learning_rate(p, self.iter, self.current_step)

    def _clip_scale(self) -> float:
        """What makes the L2 norm of all gradients together no larger than clip_gradients."""
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        norm = sqrt(sum(self.ops.number(self.ops.sum_of_squares(p.blob.diff)) for p in self.net.learnable_params))
        if norm <= limit:
            return 1.0
        logger.info(
            "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g", norm, limit, limit / norm
        )
        return limit / norm

    def _refuse_momentum(self) -> None:
        if self.param.momentum:
            self.refuse("momentum", f"Momentum cannot be used with {self.type}", "remove momentum, or set it to 0")

    def _need_fraction(self, field: str) -> None:
        if not 0 <= getattr(self.param, field) < 1:
            self.refuse(field, f"{field} {getattr(self.param, field):g} should lie between 0 and 1", "1 is too much")


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient: v = momentum v + rate g, w -= (1 + momentum) v - momentum (v before)."""

    type = "Nesterov"

    def update(self, g: Array, rate: float, v: Array) -> Array:
        fresh = rate * g
        v *= self.param.momentum
        v += fresh
        return fresh + self.param.momentum * v


class AdaGradSolver(SGDSolver):
    """AdaGrad: h += g^2, w -= rate g / (sqrt(h) + delta)."""

    type = "AdaGrad"

    def check_parameters(self) -> None:
        super().check_parameters()
        self._refuse_momentum()

    def update(self, g: Array, rate: float, h: Array) -> Array:
        h += g * g
        return rate * g / (self.ops.sqrt(h) + self.param.delta)


class RMSPropSolver(SGDSolver):
    """RMSProp: h = rms_decay h + (1 - rms_decay) g^2, w -= rate g / (sqrt(h) + delta)."""

    type = "RMSProp"

    def check_parameters(self) -> None:
        super().check_parameters()
        self._refuse_momentum()
        self._need_fraction("rms_decay")

    def update(self, g: Array, rate: float, h: Array) -> Array:
        _fade(h, self.param.rms_decay, g * g)
        return rate * g / (self.ops.sqrt(h) + self.param.delta)


class AdaDeltaSolver(SGDSolver):
    """AdaDelta, with momentum as its decay: h = momentum h + (1 - momentum) g^2, u = g sqrt((k + delta) / (h + delta)),
    k = momentum k + (1 - momentum) u^2, w -= rate u."""

    type = "AdaDelta"
    histories = 2

    def update(self, g: Array, rate: float, h: Array, k: Array) -> Array:  # type: ignore[override]
        p = self.param
        _fade(h, p.momentum, g * g)
        u = g * self.ops.sqrt((k + p.delta) / (h + p.delta))
        _fade(k, p.momentum, u * u)
        return rate * u


class AdamSolver(SGDSolver):
    """Adam: m = momentum m + (1 - momentum) g, v = momentum2 v + (1 - momentum2) g^2,
    w -= rate sqrt(1 - momentum2^t) / (1 - momentum^t) m / (sqrt(v) + delta), with t from 1."""

    type = "Adam"
    histories = 2

    def check_parameters(self) -> None:
        super().check_parameters()
        self._need_fraction("momentum")
        self._need_fraction("momentum2")

    def update(self, g: Array, rate: float, m: Array, v: Array) -> Array:  # type: ignore[override]
        p, t = self.param, self.iter + 1
        _fade(m, p.momentum, g)
        _fade(v, p.momentum2, g * g)
        correction = sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)
        return rate * correction * m / (self.ops.sqrt(v) + p.delta)


def _fade(history: Array, decay: float, value: Array) -> None:
    """Move a running average towards a value, in place."""
    history *= decay
    history += (1 - decay) * value
