import numpy as np
import pytest

from .neuron import outcome


@pytest.mark.parametrize(
    ("layer", "scale", "alpha"),
    [
        ('"SeLU"', 1.050701, 1.6732632),
        ('"SeLu"', 1.050701, 1.6732632),
        ('"SeLU" selu_param { lambda: 0.5 alpha: 3 }', 0.5, 3),
        ('"ELU" elu_param { lambda: 0.5 alpha: 3 }', 0.5, 3),
    ],
)
def test_both_sides_of_zero(make_net, layer, scale, alpha) -> None:
    y, gradient = outcome(make_net, f"type: {layer}", [-1e30, -2, 0, 3, 1e30])
    np.testing.assert_allclose(y, scale * np.array([-alpha, alpha * np.expm1(-2), 0, 3, 1e30]), rtol=1e-5)
    np.testing.assert_allclose(gradient, scale * np.array([0, alpha * np.exp(-2), alpha, 1, 1]), rtol=1e-5, atol=1e-7)
