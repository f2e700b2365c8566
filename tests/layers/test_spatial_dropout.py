import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def dropout(engine, param, phase=TRAIN, shape=(40, 50, 2, 3)):
    net = make_layer_net(f'type: "SpatialDropout" {param}', [Bottom(shape)], engine=engine, phase=phase)
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    return net


@pytest.mark.parametrize("message", ["dropout_param", "spatial_dropout_param"])
def test_it_forgets_whole_channels(engine, message) -> None:
    net = dropout(engine, f"{message} {{ dropout_ratio: 0.2 }}")
    mask = net.blobs["x0"].diff
    np.testing.assert_array_equal(mask, np.broadcast_to(mask[:, :, :1, :1], mask.shape))
    forgotten = mask[:, :, 0, 0] == 0
    assert abs(forgotten.mean() - 0.2) < 0.05
    np.testing.assert_allclose(mask[:, :, 0, 0][~forgotten], 1.25)
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data * mask)


def test_it_forgets_nothing_in_test(engine) -> None:
    net = dropout(engine, "", TEST)
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)


def test_numbers_without_channels_are_refused(engine) -> None:
    with pytest.raises(LayerError, match="has 1 axes"):
        dropout(engine, "", shape=(3,))
