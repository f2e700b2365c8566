import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .neuron import neuron, outcome


@pytest.mark.parametrize(
    ("param", "base", "scale", "shift"),
    [
        ("", np.e, 1, 0),
        ("base: 2", 2, 1, 0),
        ("scale: -3 shift: 2", np.e, -3, 2),
        ("base: 0.5 scale: 2 shift: -1", 0.5, 2, -1),
        ("base: 1", 1, 1, 0),
        ("scale: 0 shift: 1", np.e, 0, 1),
    ],
)
def test_powers_of_the_base(make_net, param, base, scale, shift):
    x = np.array([-1.5, 0, 2])
    y, gradient = outcome(make_net, f'type: "Exp" exp_param {{ {param} }}', x)
    expected = float(base) ** (scale * x + shift)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected * scale * np.log(base), rtol=1e-5)


def test_a_large_shift_does_not_overflow_on_the_way(make_net):
    y, _ = outcome(make_net, 'type: "Exp" exp_param { base: 10 shift: 400 }', [-400, -398, 0])
    np.testing.assert_allclose(y, [1, 100, np.inf], rtol=1e-4)


@pytest.mark.parametrize("base", ["0", "-2", "nan", "inf"])
@pytest.mark.parametrize("layer", ["Exp", "Log"])
def test_bases_that_are_refused(make_net, layer, base):
    with pytest.raises(LayerError, match=rf"layer \"out\" \({layer}\): base is {base}\. Use a positive number"):
        neuron(make_net, f'type: "{layer}" {layer.lower()}_param {{ base: {base} }}')
