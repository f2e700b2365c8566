import numpy as np
import pytest

from .neuron import outcome


@pytest.mark.parametrize("slope", [0, 0.25])
def test_it_is_limited_on_both_sides(make_net, slope) -> None:
    x = [-1e30, -4, -0.0, 0, 0.5, 6, 6.5, 1e30, np.nan]
    y, gradient = outcome(make_net, f'type: "ReLU6" relu6_param {{ negative_slope: {slope} }}', x)
    np.testing.assert_allclose(y, [-1e30 * slope, -4 * slope, 0, 0, 0.5, 6, 6, 6, np.nan])
    np.testing.assert_allclose(gradient[:-1], [slope, slope, slope, slope, 1, 0, 0, 0])


def test_a_negative_slope_is_limited_too(make_net) -> None:
    y, gradient = outcome(make_net, 'type: "ReLU6" relu6_param { negative_slope: -2 }', [-4, -1, 1])
    assert y.tolist() == [6, 2, 1]
    assert gradient.tolist() == [0, -2, 1]
