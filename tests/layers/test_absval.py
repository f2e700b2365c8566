import numpy as np

from .neuron import outcome


def test_zeros_lose_their_sign_and_have_no_gradient(make_net):
    y, gradient = outcome(make_net, 'type: "AbsVal"', [-0.0, -3, 0, 2])
    np.testing.assert_array_equal(y, [0, 3, 0, 2])
    assert not np.signbit(y).any()
    np.testing.assert_array_equal(gradient, [0, -1, 0, 1])
