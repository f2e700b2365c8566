import numpy as np

NET = """
force_backward: true
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 3 } } }
layer { name: "split" type: "Split" bottom: "x" top: "a" top: "b" top: "c" }
"""


def test_the_tops_are_the_bottom(make_net):
    net = make_net(NET)
    net.forward()
    net.blobs["x"].data[...] = 4
    for name in "abc":
        np.testing.assert_array_equal(net.blobs[name].data, [4, 4, 4])


def test_gradients_add_up_over_the_tops_that_have_one(make_net):
    net = make_net(NET)
    net.forward()
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [0, 0, 0])
    net.blobs["a"].diff[...], net.blobs["c"].diff[...] = [1, 2, 3], 10
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [11, 12, 13])
    np.testing.assert_array_equal(net.blobs["a"].diff, [1, 2, 3])


def test_gradients_of_scalars_add_up(make_net):
    net = make_net(NET.replace("shape { dim: 3 }", "shape {}"))
    net.forward()
    net.blobs["a"].diff[...], net.blobs["b"].diff[...] = 1, 2
    net.backward()
    net.blobs["x"].diff[...] += 4
    assert net.blobs["x"].diff == 7
