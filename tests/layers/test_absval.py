import numpy as np

from caffe_lite import TEST

from .neuron import outcome

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
layer { name: "y" type: "AbsVal" bottom: "x" top: "y" }
"""


def test_minus_zero_is_zero(make_net):
    net = make_net(NET, TEST)
    net.blobs["x"].data[...] = [-0.0, -3]
    assert not np.signbit(net.forward()["y"]).any()


def test_zeros_have_no_gradient(make_net):
    y, gradient = outcome(make_net, 'type: "AbsVal"', [-0.0, -3, 0, 2])
    np.testing.assert_array_equal(y, [0, 3, 0, 2])
    np.testing.assert_array_equal(gradient, [0, -1, 0, 1])
