import numpy as np


def test_large_numbers_saturate_without_overflow(make_net):
    net = make_net("""
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 5 } } }
        layer { name: "s" type: "Sigmoid" bottom: "x" top: "y" sigmoid_param { engine: CUDNN } }""")
    net.forward(x=np.array([-1e30, -100, 0, 100, 1e30]))
    np.testing.assert_array_equal(net.blobs["y"].data, [0, 0, 0.5, 1, 1])
