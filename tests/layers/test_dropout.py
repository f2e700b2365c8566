import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError


def dropout(make_net, ratio, phase=TRAIN, seed=1):
    net = make_net(
        f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 100 dim: 100 }} }} }}
        layer {{ name: "drop" type: "Dropout" bottom: "x" top: "y" dropout_param {{ dropout_ratio: {ratio} }} }}""",
        phase,
        seed=seed,
    )
    net.blobs["x"].data[...] = 1
    return net


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_it_forgets_the_ratio_and_scales_the_rest(make_net, ratio):
    net = dropout(make_net, ratio)
    net.forward()
    y = net.blobs["y"].data
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - np.float64(np.float32(ratio))))}
    assert abs(np.mean(y == 0) - ratio) < 5 * (ratio * (1 - ratio) / y.size) ** 0.5
    net.blobs["y"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, y)


def test_every_pass_forgets_anew_and_a_seed_repeats(make_net):
    first, second = dropout(make_net, 0.5), dropout(make_net, 0.5)
    first.forward(), second.forward()
    earlier = first.blobs["y"].data.copy()
    np.testing.assert_array_equal(earlier, second.blobs["y"].data)
    first.forward()
    assert np.any(first.blobs["y"].data != earlier)


@pytest.mark.parametrize(("ratio", "phase"), [(0, TRAIN), (0.5, TEST)])
def test_it_passes_on_what_it_does_not_forget(make_net, ratio, phase):
    net = dropout(make_net, ratio, phase)
    state = net.rng.bit_generator.state
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data, np.ones((100, 100)))
    assert net.rng.bit_generator.state == state


def test_with_sample_weights_test_it_forgets_in_test(make_net):
    train, test = (dropout(make_net, "0.5 sample_weights_test: true", phase) for phase in (TRAIN, TEST))
    for net in (train, test):
        net.forward()
        assert set(np.unique(net.blobs["y"].data)) == {0, 2}
        net.blobs["y"].diff[...] = 1
        net.backward()
        np.testing.assert_array_equal(net.blobs["x"].diff, net.blobs["y"].data)
    np.testing.assert_array_equal(train.blobs["y"].data, test.blobs["y"].data)
    before = test.blobs["y"].data.copy()
    test.forward()
    assert np.any(test.blobs["y"].data != before)


def test_without_scale_train_it_scales_in_test(make_net):
    train, test = (dropout(make_net, "0.75 scale_train: false", phase) for phase in (TRAIN, TEST))
    train.forward(), test.forward()
    assert set(np.unique(train.blobs["y"].data)) == {0, 1}
    assert set(np.unique(test.blobs["y"].data)) == {0.25}
    for net in (train, test):
        net.blobs["y"].diff[...] = 1
        net.backward()
        np.testing.assert_array_equal(net.blobs["x"].diff, net.blobs["y"].data)


@pytest.mark.parametrize("ratio", [1, 1.5, -0.1])
def test_other_ratios_are_refused(make_net, ratio):
    with pytest.raises(LayerError, match=f"dropout_ratio is {ratio:g}. Use at least 0"):
        dropout(make_net, ratio)


def test_the_root_of_the_scale(make_net):
    net = dropout(make_net, "0.36 sqrt_scale: true")
    net.forward()
    assert [float(y) for y in np.unique(net.blobs["y"].data)] == [0, pytest.approx(1.25)]
    assert np.all(dropout(make_net, "0.36 sqrt_scale: true", TEST).forward()["y"] == 1)
