import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def cropped(engine, sizes, shape):
    net = make_layer_net(
        f'type: "CropCenter" crop_center_param {{ crop_size: {sizes} }}', [Bottom(shape)], engine=engine
    )
    net.forward()
    return net


def test_borders_are_cut_off(engine) -> None:
    net = cropped(engine, [0, 0, 1, 2], (2, 3, 4, 5))
    x = net.blobs["x0"].data
    np.testing.assert_array_equal(net.blobs["y0"].data, x[:, :, 1:-1, 2:-2])
    net.blobs["y0"].diff[...] = 1
    net.backward()
    assert net.blobs["x0"].diff.sum() == 12 and np.all(net.blobs["x0"].diff[:, :, 1:-1, 2:-2] == 1)


@pytest.mark.parametrize(
    ("sizes", "what"), [([1, 1], "2 crop sizes for the 3 axes"), ([0, 0, 2], "leaves nothing of axis 2, which has 4")]
)
def test_what_is_refused(engine, sizes, what) -> None:
    with pytest.raises(LayerError, match=what):
        cropped(engine, sizes, (2, 3, 4))
