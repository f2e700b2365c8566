from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

IMAGES = Bottom((2, 3, 5, 6))


def net_of(engine, flow, param="", **kw):
    flows = Bottom(np.shape(flow), lambda rng: np.array(flow))
    return make_layer_net(f'type: "FlowWarp" flow_warp_param {{ {param} }}', [IMAGES, flows], engine=engine, **kw)


@pytest.mark.parametrize("fill", ["ZERO", "NOT_A_NUMBER"])
def test_each_pixel(fill, engine) -> None:
    flow = np.random.default_rng(0).uniform(-4, 4, (2, 2, 5, 6))
    flow[0, :, 0, 0] = [2, 3]  # a pixel itself
    flow[0, :, 1, 1] = [4, 3]  # the last pixel
    flow[0, :, 2, 2] = [3.4, 2.7]  # beyond its middle
    flow[1, 0, 3, 3] = np.nan
    net = net_of(engine, flow, f"fill_value: {fill}")
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    image = net.blobs["x0"].data
    outside = 0 if fill == "ZERO" else np.nan
    wide = np.pad(image, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
    for n, y, x in np.ndindex(2, 5, 6):
        across, down = x + flow[n, 0, y, x], y + flow[n, 1, y, x]
        if not (0 <= across < 6 and 0 <= down < 5):
            np.testing.assert_array_equal(net.blobs["y0"].data[n, :, y, x], outside)
            assert not net.blobs["x1"].diff[n, :, y, x].any()
            continue
        row, column = int(down), int(across)
        part = wide[n, :, row : row + 2, column : column + 2]
        between = [1 - (down - row), down - row] @ part @ [1 - (across - column), across - column]
        np.testing.assert_allclose(net.blobs["y0"].data[n, :, y, x], between, rtol=1e-9, atol=1e-12)
    inside = np.isfinite(net.blobs["y0"].data).sum() if fill != "ZERO" else np.count_nonzero(net.blobs["y0"].data)
    assert net.blobs["x0"].diff.sum() == pytest.approx(inside)


def test_no_flow_leaves_an_image_as_it_is(engine) -> None:
    net = net_of(engine, np.zeros((2, 2, 5, 6)), dtype="float32")
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)


def test_flows_of_another_size(engine) -> None:
    with pytest.raises(LayerError, match=r"\(2, 3, 5, 6\) and \(2, 2, 5, 5\)"):
        net_of(engine, np.zeros((2, 2, 5, 5)))
