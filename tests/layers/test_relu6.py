import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .neuron import neuron, outcome


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


@pytest.mark.parametrize(
    ("param", "slope", "least", "most"),
    [
        ("relu6: true", 0, -np.inf, 6),
        ("relu6: true maximum: 3", 0, -np.inf, 3),
        ("maximum: 3 negative_slope: 0.5", 0.5, -np.inf, 3),
        ("minimum: -1 negative_slope: 0.5", 0.5, -1, np.inf),
        ("minimum: 0.25 maximum: 1", 0, 0.25, 1),
    ],
)
def test_relu_may_be_limited(make_net, param, slope, least, most) -> None:
    x = np.array([-8, -3, -1, -0.1, 0.1, 0.5, 2, 5, 7])
    y, gradient = outcome(make_net, f'type: "ReLU" relu_param {{ {param} }}', x)
    rectified = np.where(x > 0, x, slope * x)
    np.testing.assert_allclose(y, np.clip(rectified, least, most))
    inside = (rectified > least) & (rectified < most)
    np.testing.assert_allclose(gradient, inside * np.where(x > 0, 1, slope))


def test_a_minimum_above_the_maximum_is_refused(make_net) -> None:
    with pytest.raises(LayerError, match="minimum 7 exceeds the largest value 6"):
        neuron(make_net, 'type: "ReLU" relu_param { relu6: true minimum: 7 }')
