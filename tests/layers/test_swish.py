import numpy as np
import pytest

from .neuron import outcome


@pytest.mark.parametrize("beta", [1, 0, -0.5, 10])
def test_the_input_times_its_logistic_function(make_net, beta):
    x = np.array([-3, -0.5, 0, 2])
    y, gradient = outcome(make_net, f'type: "Swish" swish_param {{ beta: {beta} }}', x)
    s = 1 / (1 + np.exp(-beta * x))
    np.testing.assert_allclose(y, x * s, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, s + beta * x * s * (1 - s), rtol=1e-5, atol=1e-6)


def test_large_numbers_do_not_overflow(make_net):
    y, gradient = outcome(make_net, 'type: "Swish"', [-1e30, -200, 200, 1e30])
    np.testing.assert_allclose(y, [0, 0, 200, 1e30])
    np.testing.assert_allclose(gradient, [0, 0, 1, 1])
