import numpy as np
import pytest

from caffe_lite.errors import LayerError


def test_one_shape_serves_all_tops(make_net):
    net = make_net('layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }')
    assert net.inputs == ["a", "b"]
    assert net.blobs["a"].shape == net.blobs["b"].shape == (2, 3)


def test_a_shape_for_each_top(make_net):
    net = make_net("""layer { name: "in" type: "Input" top: "a" top: "b"
        input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }""")
    assert (net.blobs["a"].shape, net.blobs["b"].shape) == ((2, 3), (2,))


def test_a_top_without_a_shape_waits_for_the_users(make_net):
    net = make_net('layer { name: "in" type: "Input" top: "a" }')
    assert net.blobs["a"].shape == ()


def test_the_users_values_and_shape_outlive_passes(make_net):
    net = make_net("""
        layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "tanh" type: "TanH" bottom: "a" top: "b" }""")
    net.blobs["a"].reshape(4, 1)
    net.reshape()
    net.blobs["a"].data[...] = np.arange(4).reshape(4, 1)
    for _ in range(2):
        net.forward()
        np.testing.assert_allclose(net.blobs["b"].data, np.tanh(np.arange(4)).reshape(4, 1), rtol=1e-6)


def test_other_counts_of_shapes_are_refused(make_net):
    with pytest.raises(LayerError) as error:
        make_net("""layer { name: "in" type: "Input" top: "a" top: "b" top: "c"
            input_param { shape { dim: 2 } shape { dim: 2 } } }""")
    assert 'layer "in" (Input): 2 shapes for 3 tops. Give input_param one shape, or one per top.' in str(error.value)


def test_a_negative_dimension_is_refused(make_net):
    with pytest.raises(LayerError, match=r"shape \[-1, 3\] has a negative dimension"):
        make_net('layer { name: "in" type: "Input" top: "a" input_param { shape { dim: -1 dim: 3 } } }')
