import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def local(engine, param, shape=(2, 3, 5, 4)):
    layer = f'type: "Local" local_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine)
    net.forward()
    return net


def test_every_place_has_its_filter(engine) -> None:
    net = local(engine, "num_output: 2 kernel_size: 3 stride: 2 pad: 1")
    weight, bias = (blob.data for blob in net.params["under_test"])
    assert weight.shape == (2, 1, 27, 6) and bias.shape == (1, 1, 2, 6)
    padded = np.pad(net.blobs["x0"].data, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = net.blobs["y0"].data
    assert y.shape == (2, 2, 3, 2)
    for place, (row, column) in enumerate(np.ndindex(3, 2)):
        window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].reshape(2, 27)
        expected = window @ weight[:, 0, :, place].T + bias[0, 0, :, place]
        np.testing.assert_allclose(y[:, :, row, column], expected)


@pytest.mark.parametrize(
    ("param", "shape", "what"),
    [
        ("kernel_size: 3", (1, 1, 5, 5), "num_output is 0"),
        ("num_output: 2", (1, 1, 5, 5), "kernel_size is 0"),
        ("num_output: 2 kernel_size: 3 stride: 0", (1, 1, 5, 5), "stride is 0"),
        ("num_output: 2 kernel_size: 3", (1, 5, 5), "has 3 axes"),
        ("num_output: 2 kernel_size: 6", (1, 1, 5, 5), "no window of 6 x 6"),
    ],
)
def test_what_is_refused(engine, param, shape, what) -> None:
    with pytest.raises(LayerError, match=what):
        local(engine, param, shape)


def test_the_image_keeps_its_size(engine) -> None:
    net = local(engine, "num_output: 2 kernel_size: 3 bias_term: false")
    net.blobs["x0"].reshape(1, 3, 6, 4)
    with pytest.raises(LayerError, match="does not agree with the weights"):
        net.forward()
