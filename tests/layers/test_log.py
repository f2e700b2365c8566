import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .neuron import neuron, outcome


@pytest.mark.parametrize(
    ("param", "base", "scale", "shift"),
    [
        ("", np.e, 1, 0),
        ("base: 10", 10, 1, 0),
        ("scale: 3 shift: 2", np.e, 3, 2),
        ("base: 0.5 scale: -1 shift: 5", 0.5, -1, 5),
    ],
)
def test_logarithms_to_the_base(make_net, param, base, scale, shift):
    x = np.array([0.5, 1, 3])
    y, gradient = outcome(make_net, f'type: "Log" log_param {{ {param} }}', x)
    z = scale * x + shift
    np.testing.assert_allclose(y, np.log(z) / np.log(base), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, scale / (z * np.log(base)), rtol=1e-6)


def test_zero_and_negative_numbers(make_net):
    y, gradient = outcome(make_net, 'type: "Log"', [0, -1])
    np.testing.assert_array_equal(y, [-np.inf, np.nan])
    np.testing.assert_array_equal(gradient, [np.inf, -1])


def test_1_is_no_base(make_net):
    with pytest.raises(LayerError, match="base is 1, and no power of 1 is another number"):
        neuron(make_net, 'type: "Log" log_param { base: 1 }')
