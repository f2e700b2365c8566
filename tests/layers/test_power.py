import numpy as np
import pytest

from .neuron import outcome

NUMBERS = [-np.inf, -2, 0, 3, np.inf, np.nan]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("power: 0", 1),
        ("power: 0 scale: 2 shift: 3", 1),
        ("power: 0 scale: 0", 1),
        ("power: 3 scale: 0 shift: 2", 8),
        ("scale: 0 shift: 5", 5),
        ("power: -1 scale: 0", np.inf),
        ("power: 0.5 scale: 0 shift: -1", np.nan),
    ],
)
def test_what_does_not_depend_on_the_input(make_net, param, value):
    y, gradient = outcome(make_net, f'type: "Power" power_param {{ {param} }}', NUMBERS)
    np.testing.assert_array_equal(y, [value] * len(NUMBERS))
    assert not gradient.any()


@pytest.mark.parametrize("power", [1, 2, 3, -1, -2])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (-0.5, 0), (2, 0.25)])
def test_whole_powers_of_either_sign(make_net, power, scale, shift):
    x = np.array([-1.5, 0.5, 3])
    layer = f'type: "Power" power_param {{ power: {power} scale: {scale} shift: {shift} }}'
    y, gradient = outcome(make_net, layer, x)
    z = scale * x + shift
    np.testing.assert_allclose(y, z**power, rtol=1e-5)
    np.testing.assert_allclose(gradient, power * scale * z ** (power - 1.0), rtol=1e-5)


@pytest.mark.parametrize(("power", "slope"), [(0.5, np.inf), (1, 1), (1.5, 0), (2, 0), (3, 0)])
def test_the_gradient_at_zero(make_net, power, slope):
    y, gradient = outcome(make_net, f'type: "Power" power_param {{ power: {power} }}', [0])
    assert (y, gradient) == (0, slope)


def test_a_root_of_a_negative_number(make_net):
    y, _ = outcome(make_net, 'type: "Power" power_param { power: 0.5 }', [-4, 4])
    np.testing.assert_array_equal(y, [np.nan, 2])
