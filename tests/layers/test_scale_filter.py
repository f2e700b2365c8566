import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def scaled(engine, param, phase=TRAIN, shape=(20, 30, 2, 3)):
    layer = f'type: "ScaleFilter" scale_filter_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine, phase=phase)
    net.forward()
    return net


def test_each_channel_of_each_sample_is_scaled(engine) -> None:
    net = scaled(engine, "min_scale: 0.5 max_scale: 2")
    ratio = net.blobs["y0"].data / net.blobs["x0"].data
    scale = ratio[:, :, :1, :1]
    np.testing.assert_allclose(ratio, np.broadcast_to(scale, ratio.shape))
    assert len(np.unique(scale.round(6))) > 500
    assert 0.5 <= scale.min() < 0.6 and 1.9 < scale.max() <= 2 and abs(scale.mean() - 1.25) < 0.06
    net.blobs["y0"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, ratio)


def test_nothing_is_scaled_in_test(engine) -> None:
    net = scaled(engine, "min_scale: 0.5 max_scale: 2", TEST)
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)


@pytest.mark.parametrize("param", ["", "min_scale: 2 max_scale: 1", "min_scale: 0 max_scale: 1"])
def test_scales_that_are_no_interval_are_refused(engine, param) -> None:
    with pytest.raises(LayerError, match="min_scale is"):
        scaled(engine, param)


def test_numbers_without_channels_are_refused(engine) -> None:
    with pytest.raises(LayerError, match="has 1 axes"):
        scaled(engine, "min_scale: 1 max_scale: 2", shape=(3,))
