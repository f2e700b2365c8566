import numpy as np


def test_large_numbers_saturate(make_net):
    net = make_net("""
        force_backward: true
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 } } }
        layer { name: "t" type: "TanH" bottom: "x" top: "y" tanh_param { engine: CAFFE } }""")
    net.forward(x=np.array([-1e30, -50, 50, 1e30]))
    np.testing.assert_array_equal(net.blobs["y"].data, [-1, -1, 1, 1])
    net.backward(y=np.ones(4))
    np.testing.assert_array_equal(net.blobs["x"].diff, np.zeros(4))
