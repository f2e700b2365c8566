"""Intel's gabor filler: waves in a bell, like those that the first layers of published nets have learned."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import NamedTuple

import numpy as np


class Wave(NamedTuple):
    """A filter of one output: a cosine in direction ``angle``, times a bell, times a factor for each channel."""

    height: float = 1.0
    width: float = 0.6  # the standard deviation of the bell; the filter reaches from -1 to 1
    frequency: float = pi
    phase: float = 0.0
    angle: float = 0.0
    channels: tuple[float, float, float] = (1, 1, 1)

    def values(self, size: int) -> np.ndarray:
        """Return the filter (3, size, size)."""
        x = 2 * np.arange(size) / (size - 1) - 1
        y = x[:, None]
        bell = np.exp(-(x * x + y * y) / (2 * self.width**2))
        wave = np.cos((x * np.cos(self.angle) - y * np.sin(self.angle)) * self.frequency + self.phase)
        return np.array(self.channels)[:, None, None] * (self.height * bell * wave)


def _cifar(i: int, top: float) -> Wave:
    """Return filter i of 32; ``top`` is the highest frequency that the filter can hold."""
    if i < 8:
        return Wave(0.5, frequency=top, angle=i * pi / 8)
    if i < 14:
        return Wave(0.5, frequency=top / 2, angle=(i - 2) % 6 * pi / 6 + pi / 12)
    if i < 16:
        return Wave(0.5, 0.75, top / 8, i % 2 * pi, 0, (1, -1, 1))
    edge = Wave(0.5, frequency=top / 4, phase=pi / 2, angle=i % 4 * pi / 2 + 3 * pi / 8)
    if i < 20:
        return edge
    if i < 28:
        return edge._replace(channels=(1, 0, -1) if i < 24 else (-1, 1, 1))
    if i < 30:
        return edge._replace(angle=i % 2 * pi / 2 + pi / 8, channels=(-1, 1, -1))
    return edge._replace(angle=i % 2 * pi / 2 + 3 * pi / 8, channels=(1, 1, 0))


def _googlenet(i: int, top: float) -> Wave:
    """Return filter i of 64."""
    eighth = i % 8
    if i < 32:
        frequency, phase = top / (1 + eighth / 2), i % 2 * pi + 12 * pi / 32
        return Wave(1 / (1 + eighth / 8), 0.4 + 0.025 * eighth, frequency, phase, i // 8 * pi / 4)
    if i < 40:
        return Wave(0.5, 0.45, top, pi, eighth * pi / 8)
    if i < 46:
        size = (i - 1) % 3
        return Wave(1 / (1 + size / 2), 1 / (2.5 - size / 2), pi / 4, (i - 1) // 3 * pi, 0, (0.25, -1, 1))
    if i < 48:
        return Wave(2 / 3, 1, top / 12, pi / 2, eighth * pi + pi / 8, (1, 0.1, -0.5))
    if i < 56:
        return Wave(2 / 3, 1, top / 12, pi / 2, eighth * pi / 4 + pi / 32, (-0.5, 0.1, 1))
    edge = Wave(1, 1, top / 12, pi / 2, eighth * pi / 2 + pi / 8, (0.25, -1, 1))
    return edge if i < 60 else edge._replace(height=2 / 3, channels=(-1, -1, 1))


def _vgg(i: int, top: float) -> Wave:
    """Return filter i of 64 small ones: GoogLeNet's without much of a bell."""
    return _googlenet(i, top)._replace(width=1)


def _alexnet(i: int, top: float) -> Wave:
    """Return filter i of 96."""
    eighth, third = i % 8, 1 / 3
    if i < 48:
        frequency, phase = top / (1 + eighth / 2), i % 2 * pi + 12 * pi / 32
        return Wave(third / (1 + eighth / 8), 0.5 + 0.025 * eighth, frequency, phase, i // 8 * pi / 6)
    if i < 56:
        size = i % 4
        return Wave(third / (1 + size / 2), 1 / (2.5 - size / 2), pi / 4, i // 4 * pi, 0, (0.25, -1, 1))
    if i < 60:
        return Wave(third / 1.5, 0.75, top / 8, pi / 2, i % 4 * pi / 2 + pi / 8, (-1, 1, -0.5))
    if i < 64:
        return Wave(third / 3, 2, top / 8, pi / 2, i % 4 * pi / 2 + pi / 8, (1, -0.5, -0.75))
    if i < 72:
        return Wave(third / 1.5, 0.75, top / 4, pi / 2, eighth * pi / 4 + pi / 32, (1, 0.1, -0.75))
    if i < 80:
        return Wave(third / 1.5, 1, top / 12, pi / 2, eighth * pi / 4 + pi / 32, (-0.5, 0.1, 1))
    if i < 88:
        return Wave(third / 2.5, 1, top / 8, pi / 2, eighth * pi / 4 + pi / 32, (-1, -1, 1))
    if i < 92:
        return Wave(third, frequency=top / 16, phase=pi / 2, angle=i % 4 * pi / 2 + pi / 16)
    return Wave(third / 4, 0.75, top / 4, pi / 2, eighth * pi / 4 + pi / 32, (-1, -1, 1))


# The shapes that there are filters for.
WAVES: dict[tuple[int, ...], Callable[[int, float], Wave]] = {
    (32, 3, 5, 5): _cifar,
    (64, 3, 7, 7): _googlenet,
    (64, 3, 3, 3): _vgg,
    (96, 3, 11, 11): _alexnet,
}


def gabor_filters(shape: tuple[int, ...]) -> np.ndarray:
    """Return the filters of this shape, one of WAVES. Source: Intel's gabor.hpp."""
    count, size = shape[0], shape[3]
    return np.stack([WAVES[shape](i, pi * (size - 1) / 2).values(size) for i in range(count)])
