import numpy as np

from .neuron import outcome


def test_large_numbers_do_not_overflow_and_small_slopes_do_not_vanish(make_net):
    y, gradient = outcome(make_net, 'type: "BNLL"', [-1e30, -80, -20, 0, 20, 100, 1e30])
    np.testing.assert_allclose(y, [0, np.exp(-80), np.exp(-20), np.log(2), 20, 100, 1e30], rtol=1e-6)
    np.testing.assert_allclose(gradient, [0, np.exp(-80), np.exp(-20), 0.5, 1, 1, 1], rtol=1e-6)
