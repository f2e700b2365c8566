import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def resized(engine, param, shape=(2, 3, 4, 5)):
    net = make_layer_net(f'type: "Resize" resize_param {{ {param} }}', [Bottom(shape)], engine=engine)
    net.forward()
    return net.blobs["x0"].data, net.blobs["y0"].data


@pytest.mark.parametrize(
    ("param", "out"),
    [
        ("height: 7 width: 3", (7, 3)),
        ("height: 4 width: 5", (4, 5)),
        ("is_pyramid_test: true out_height_scale: 0.5 out_width_scale: 1.5", (2, 7)),
    ],
)
def test_pixels_are_interpolated(engine, param, out) -> None:
    x, y = resized(engine, param)
    assert y.shape == (2, 3, *out)
    around = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))  # zeros follow the image
    for row, column in np.ndindex(*out):
        h, w = row * 4 / out[0], column * 5 / out[1]
        i, j = int(h), int(w)
        expected = (1 - h + i) * ((1 - w + j) * around[:, :, i, j] + (w - j) * around[:, :, i, j + 1])
        expected += (h - i) * ((1 - w + j) * around[:, :, i + 1, j] + (w - j) * around[:, :, i + 1, j + 1])
        np.testing.assert_allclose(y[:, :, row, column], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("param", "shape", "what"),
    [
        ("height: 3", (1, 1, 2, 2), "width is 0"),
        ("is_pyramid_test: true height: 3 width: 3", (1, 1, 2, 2), "out_height_scale is 0"),
        ("height: 3 width: 3", (2, 2), "has 2 axes"),
        ("height: 3 width: 3 prob: 0.5", (1, 1, 2, 2), "it does not read prob"),
        ("is_pyramid_test: true out_height_scale: 0.1 out_width_scale: 1", (1, 1, 2, 2), "Neither may be empty"),
    ],
)
def test_what_is_refused(engine, param, shape, what) -> None:
    with pytest.raises(LayerError, match=what):
        resized(engine, param, shape)
