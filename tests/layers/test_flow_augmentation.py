from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net
from .test_data_augmentation import given, row

FIRST = {"mirror": 1, "dx": 0.1, "dy": -0.1, "angle": 0.3, "zoom_x": 1.5, "zoom_y": 1.2}
SECOND = {"dx": -0.2, "angle": -0.2, "zoom_x": 1.1, "zoom_y": 0.9}
FLOWS = Bottom((2, 2, 12, 14), lambda rng: rng.uniform(-3, 3, (2, 2, 12, 14)))


def run(engine, size, bottoms):
    layer = f'type: "FlowAugmentation" augmentation_param {{ crop_width: {size[0]} crop_height: {size[1]} }}'
    n = make_layer_net(layer, bottoms, engine=engine)
    n.forward()
    return n.blobs["x0"].data, n.blobs["y0"].data


def image_place(x, y, c):
    """Return where in an image of 14 x 12 pixels a pixel of a crop of 7 x 5 lies."""
    x, y = (x - 3.5) * (-1 if c.get("mirror") else 1), y - 2.5
    place = np.exp(1j * c["angle"]) * (x + 1j * y) + c["dx"] * 7 + 1j * c.get("dy", 0) * 5
    return place.real / c["zoom_x"] + 7, place.imag / c["zoom_y"] + 6


def test_pixels_that_correspond_still_do(engine) -> None:
    x, y = run(engine, (7, 5), [FLOWS, given(row(**FIRST), row()), given(row(**SECOND), row())])
    for (i, j), _ in np.ndenumerate(y[0, 0]):
        across, down = image_place(j, i, FIRST)
        u, v = x[0, :, int(down + 0.5), int(across + 0.5)]
        end = image_place(j + y[0, 0, i, j], i + y[0, 1, i, j], SECOND)
        np.testing.assert_allclose(end, (across + u, down + v))
    np.testing.assert_allclose(y[1], x[1, :, 4:9, 4:11])  # a place between two pixels is the later one's


def test_outside_is_the_border(engine) -> None:
    x, y = run(engine, (3, 1), [FLOWS, given(row(dx=9), row(dx=-9)), given(row(dx=9), row(dx=-9))])
    np.testing.assert_allclose(y[:, :, 0, 0], [x[0, :, 6, -1], x[1, :, 6, 0]])


@pytest.mark.parametrize(
    ("size", "flows", "message"),
    [
        ((0, 2), FLOWS, "the crop is 0 x 2"),
        ((2, 2), Bottom((2, 3, 4, 4)), "the flows have the shape"),
        ((2, 2), Bottom((3, 2, 4, 4)), "the coefficients have the shape"),
    ],
)
def test_errors(size, flows, message) -> None:
    with pytest.raises(LayerError, match=message):
        run("numpy", size, [flows, given(row(), row()), given(row(), row())])
