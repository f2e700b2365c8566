"""Neurons that forks add, each against its formula."""

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from ..neuron import neuron, outcome

X = np.array([-1e30, -40, -3.5, -2, -1, -0.25, 0.25, 0.9, 2, 3.5, 40, 1e30])


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def mish(x):
    return x * np.tanh(np.logaddexp(0, x))


def mish_slope(x):
    t = np.tanh(np.logaddexp(0, x))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(abs(x) < 30, t + x * (1 - t * t) * sigmoid(x), x > 0)


@pytest.mark.parametrize(
    ("layer", "value", "slope"),
    [
        ('"HardSwish"', lambda x: x * np.clip(x / 6 + 0.5, 0, 1), lambda x: np.where(abs(x) < 3, x / 3 + 0.5, x > 0)),
        ('"HardTanH"', lambda x: np.clip(x, -1, 1), lambda x: abs(x) < 1),
        ('"HardSigmoid"', lambda x: np.clip(0.2 * x + 0.5, 0, 1), lambda x: 0.2 * (abs(x) < 2.5)),
        (
            '"HardSigmoid" hard_sigmoid_param { alpha: -1 beta: 0 }',
            *(lambda x: np.clip(-x, 0, 1), lambda x: -1.0 * ((x < 0) & (x > -1))),
        ),
        ('"Mish"', mish, mish_slope),
        ('"Softplus"', lambda x: np.logaddexp(0, x), sigmoid),
        ('"ThresholdedReLU"', lambda x: np.where(x > 1, x, 0), lambda x: x > 1),
        ('"ThresholdedReLU" thresholded_relu_param { alpha: -2 }', lambda x: np.where(x > -2, x, 0), lambda x: x > -2),
        (
            '"ScaledTanH" scaled_tanh_param { alpha: 2 beta: 0.5 }',
            *(lambda x: 2 * np.tanh(x / 2), lambda x: 1 - np.tanh(x / 2) ** 2),
        ),
    ],
)
def test_formula(make_net, layer, value, slope) -> None:
    y, gradient = outcome(make_net, f"type: {layer}", X)
    np.testing.assert_allclose(y, value(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, slope(X), rtol=1e-5, atol=1e-6)


def test_scaled_tanh_needs_both_factors(make_net) -> None:
    with pytest.raises(LayerError, match="no alpha or no beta"):
        neuron(make_net, 'type: "ScaledTanH" scaled_tanh_param { alpha: 1 }')
