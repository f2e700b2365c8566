import numpy as np
import pytest

from caffe_lite.errors import CaffeError, LayerError


def dummy(make_net, param, tops=("a",), **kw):
    names = " ".join(f'top: "{name}"' for name in tops)
    return make_net(f'layer {{ name: "dummy" type: "DummyData" {names} dummy_data_param {{ {param} }} }}', **kw)


def test_zeros_without_a_filler(make_net):
    net = dummy(make_net, "shape { dim: 2 dim: 3 }")
    net.forward()
    np.testing.assert_array_equal(net.blobs["a"].data, np.zeros((2, 3)))


def test_constants_are_filled_once_and_others_in_every_pass(make_net):
    net = dummy(
        make_net,
        'shape { dim: 50 } data_filler { type: "constant" value: 2.5 } data_filler { type: "uniform" min: 3 max: 4 }',
        tops=("constant", "random"),
    )
    net.forward()
    first = net.blobs["random"].data.copy()
    assert np.all(net.blobs["constant"].data == 2.5) and np.all((first >= 3) & (first < 4))
    net.blobs["constant"].data[...] = 7
    net.forward()
    assert np.all(net.blobs["constant"].data == 7)
    assert np.all(net.blobs["random"].data != first)


def test_equal_seeds_give_equal_numbers(make_net):
    runs = []
    for seed in (1, 1, 2):
        net = dummy(make_net, 'shape { dim: 5 } data_filler { type: "gaussian" }', seed=seed)
        net.forward()
        runs.append(net.blobs["a"].data.copy())
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.any(runs[0] != runs[2])


def test_the_former_spelling_of_shapes(make_net):
    net = dummy(make_net, "num: 2 num: 5 channels: 3 height: 4 width: 6 width: 7", tops=("a", "b"))
    assert (net.blobs["a"].shape, net.blobs["b"].shape) == ((2, 3, 4, 6), (5, 3, 4, 7))


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("shape { dim: 1 } shape { dim: 1 }", "shape is given 2 times for 3 tops. Give shape once, or once per top"),
        ("", "shape is given 0 times for 3 tops"),
        ("num: 1 channels: 1 height: 1", "width is given 0 times for 3 tops"),
        ("shape { dim: 1 } num: 1", "both shape and num, channels, height, width are given"),
        ("shape { dim: 1 } data_filler {} data_filler {}", "data_filler is given 2 times for 3 tops"),
        ("shape { dim: -4 }", "negative dimension"),
    ],
)
def test_what_is_refused(make_net, param, what):
    with pytest.raises(LayerError) as error:
        dummy(make_net, param, tops=("a", "b", "c"))
    assert what in str(error.value)


def test_an_unknown_filler_is_refused_before_the_first_pass(make_net):
    with pytest.raises(CaffeError, match=r'layer "dummy" \(DummyData\): unknown filler type .gausian.\. Use gaussian'):
        dummy(make_net, 'shape { dim: 2 } data_filler { type: "gausian" }')
