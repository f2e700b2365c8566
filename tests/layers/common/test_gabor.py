"""The gabor filler: filters by the formula written out, and their kinds."""

from __future__ import annotations

from math import cos, exp, pi, sin

import numpy as np
import pytest

from caffe_lite.layers.common.gabor import WAVES, gabor_filters


def pixel(x: float, y: float, height: float, width: float, frequency: float, phase: float, angle: float) -> float:
    return height * exp(-(x**2 + y**2) / (2 * width**2)) * cos((x * cos(angle) - y * sin(angle)) * frequency + phase)


# Of each net some filters: number, lambda, sigma, omega, phi, theta, and the factors of the three channels.
CASES = [
    ((32, 3, 5, 5), 3, (0.5, 0.6, 2 * pi, 0, 3 * pi / 8), (1, 1, 1)),
    ((32, 3, 5, 5), 13, (0.5, 0.6, pi, 0, 5 * pi / 6 + pi / 12), (1, 1, 1)),
    ((32, 3, 5, 5), 15, (0.5, 0.75, pi / 4, pi, 0), (1, -1, 1)),
    ((32, 3, 5, 5), 18, (0.5, 0.6, pi / 2, pi / 2, pi + pi / 4 + pi / 8), (1, 1, 1)),
    ((32, 3, 5, 5), 22, (0.5, 0.6, pi / 2, pi / 2, pi + pi / 4 + pi / 8), (1, 0, -1)),
    ((32, 3, 5, 5), 29, (0.5, 0.6, pi / 2, pi / 2, pi / 2 + pi / 4 - pi / 8), (-1, 1, -1)),
    ((32, 3, 5, 5), 31, (0.5, 0.6, pi / 2, pi / 2, pi / 2 + pi / 4 + pi / 8), (1, 1, 0)),
    ((64, 3, 7, 7), 21, (1 / 1.625, 0.525, 3 * pi / 3.5, pi + 3 * pi / 8, pi / 2), (1, 1, 1)),
    ((64, 3, 7, 7), 45, (1 / 2, 1 / 1.5, pi / 4, 14 * pi, 0), (0.25, -1, 1)),
    ((64, 3, 7, 7), 61, (2 / 3, 1, pi / 4, pi / 2, 5 * pi / 2 + pi / 8), (-1, -1, 1)),
    ((64, 3, 3, 3), 34, (0.5, 1, pi, pi, pi / 4), (1, 1, 1)),
    ((96, 3, 11, 11), 47, (1 / 3 / 1.875, 0.675, 5 * pi / 4.5, pi + 3 * pi / 8, 5 * pi / 6), (1, 1, 1)),
    ((96, 3, 11, 11), 50, (1 / 6, 1 / 1.5, pi / 4, 12 * pi, 0), (0.25, -1, 1)),
    ((96, 3, 11, 11), 90, (1 / 3, 0.6, 5 * pi / 16, pi / 2, pi + pi / 16), (1, 1, 1)),
    ((96, 3, 11, 11), 95, (1 / 12, 0.75, 5 * pi / 4, pi / 2, 7 * pi / 4 + pi / 32), (-1, -1, 1)),
]


@pytest.mark.parametrize(("shape", "number", "wave", "channels"), CASES)
def test_filters(
    shape: tuple[int, ...], number: int, wave: tuple[float, ...], channels: tuple[float, float, float]
) -> None:
    line = np.linspace(-1, 1, shape[3])
    plane = np.array([[pixel(x, y, *wave) for x in line] for y in line])
    np.testing.assert_allclose(gabor_filters(shape)[number], np.multiply.outer(channels, plane), 1e-9, 1e-12)


@pytest.mark.parametrize("shape", WAVES)
def test_filters_differ(shape: tuple[int, ...]) -> None:
    filters = gabor_filters(shape)
    assert filters.shape == shape
    assert len({np.round(f, 6).tobytes() for f in filters}) > 0.8 * len(filters)
