import numpy as np


def test_its_bottoms_are_no_outputs_and_get_no_gradient(make_net):
    net = make_net("""
        force_backward: true
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 } } }
        layer { name: "split" type: "Split" bottom: "x" top: "a" top: "b" top: "y" }
        layer { name: "silence" type: "Silence" bottom: "a" bottom: "b" }""")
    assert net.outputs == ["y"]
    net.forward()
    net.blobs["a"].diff[...], net.blobs["b"].diff[...], net.blobs["y"].diff[...] = 1, 2, 3
    net.backward()
    np.testing.assert_array_equal(net.blobs["a"].diff, [0, 0])
    np.testing.assert_array_equal(net.blobs["x"].diff, [3, 3])
