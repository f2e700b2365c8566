"""Roles: what a layer tells its neighbours, so that several in a row can run as one kernel (``fusion``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from .array import Array
from .windows import Ints


@dataclass(frozen=True)
class Rectifier:
    """y = x where x > 0, else ``slope * x``, limited to ``most``.

    ``remember`` is given y when a kernel has computed it for the layer.
    """

    slope: float
    remember: Callable[[Array], None]
    most: float = inf


@dataclass(frozen=True)
class Sum:
    """The sum of the bottoms; ``plain`` if all coefficients are 1."""

    plain: bool


@dataclass(frozen=True)
class ChannelMap:
    """y = factor * x + term, channel by channel along axis 1; None stands for a factor of 1 or a term of 0."""

    factor_and_term: Callable[[], tuple[Array | None, Array | None]]


@dataclass(frozen=True)
class LearnedChannelMap(ChannelMap):
    """A ChannelMap whose factor and term are the layer's blobs, in this order."""


@dataclass(frozen=True)
class Normalization:
    """y = (x - mean) / sqrt(variance + eps) with the batch's own statistics, channel by channel.

    ``rows`` gives x the shape (N, C, ...); ``remember`` is given the batch's mean and unbiased variance. If the layer
    itself then scales y and shifts it, ``learned`` has the indices of its blobs that do so, in this order.
    """

    eps: float
    rows: Callable[[Array], Array]
    remember: Callable[[Array, Array], None]
    learned: tuple[int, ...] = ()


@dataclass(frozen=True)
class Windows:
    """The geometry of a convolution's windows."""

    stride: Ints
    pad: Ints
    dilation: Ints
    group: int


@dataclass(frozen=True)
class Linear:
    """y = W x + b, where each row of W makes one channel of y; ``along_channels`` if the channels are axis 1 of y.

    ``rows`` gives x the shape that ``apply(x, weight, bias)`` takes; a convolution has ``windows``. Of a deconvolution,
    axis 1 of W has the channels of one of ``transposed_groups``.
    """

    along_channels: bool
    weight_and_bias: Callable[[], tuple[Array, Array | None]]
    rows: Callable[[Array], Array]
    apply: Callable[[Array, Array, Array | None], Array]
    windows: Windows | None = None
    transposed_groups: int = 0


@dataclass(frozen=True)
class Identity:
    """Every top is the bottom."""


Role = Rectifier | Sum | ChannelMap | Normalization | Linear | Identity


def combined(roles: Sequence[object], shift: Array | None) -> tuple[Array | None, Array | None]:
    """Return the factor and the term that stand for several maps of channels after a term; None for 1 and 0."""
    factor: Array | None = None
    for role in roles:
        if isinstance(role, ChannelMap):
            by, plus = role.factor_and_term()
            if by is not None:
                factor, shift = by if factor is None else factor * by, None if shift is None else shift * by
            if plus is not None:
                shift = plus if shift is None else shift + plus
    return factor, shift
