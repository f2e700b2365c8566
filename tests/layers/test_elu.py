import numpy as np
import pytest

from .neuron import outcome


@pytest.mark.parametrize("alpha", [0, 0.5, 1, -2])
def test_both_sides_of_zero(make_net, alpha):
    layer = f'type: "ELU" elu_param {{ alpha: {alpha} }}'
    y, gradient = outcome(make_net, layer, [-1e30, -2, -1e-6, 0, 3, 1e30])
    np.testing.assert_allclose(y, [-alpha, alpha * np.expm1(-2), -1e-6 * alpha, 0, 3, 1e30], rtol=1e-5)
    np.testing.assert_allclose(gradient, [0, alpha * np.exp(-2), alpha, alpha, 1, 1], rtol=1e-5, atol=1e-7)
