import numpy as np
import pytest

from caffe_lite.errors import CaffeError, LayerError

from .neuron import neuron, outcome


def test_bounds_themselves_pass_the_gradient(make_net):
    y, gradient = outcome(make_net, 'type: "Clip" clip_param { min: -1 max: 2 }', [-np.inf, -1, 0, 2, 2.5, np.nan])
    np.testing.assert_array_equal(y, [-1, -1, 0, 2, 2, np.nan])
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0, 0])


def test_an_interval_of_one_number(make_net):
    y, gradient = outcome(make_net, 'type: "Clip" clip_param { min: 1 max: 1 }', [0, 1, 2])
    np.testing.assert_array_equal(y, [1, 1, 1])
    np.testing.assert_array_equal(gradient, [0, 1, 0])


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("", 'layer "out" (Clip): it has no bounds'),
        ("clip_param { min: 0 }", "clip_param needs a value for max"),
        ("clip_param { max: 0 }", "clip_param needs a value for min"),
    ],
)
def test_both_bounds_must_be_given(make_net, param, what):
    with pytest.raises(CaffeError) as error:
        neuron(make_net, f'type: "Clip" {param}')
    assert what in str(error.value)


def test_bounds_the_wrong_way_round(make_net):
    with pytest.raises(LayerError, match=r"net\.prototxt:3:9, layer \"out\" \(Clip\): min 2 exceeds max 1"):
        neuron(make_net, 'type: "Clip" clip_param { min: 2 max: 1 }')
