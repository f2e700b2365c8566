from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError
from caffe_lite.pycaffe.blob import HostBlob

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


def prelu(params: str, shape: tuple[int, ...], engine: str, chain=None):
    layer = f'type: "PReLU" prelu_param {{ {params} }}'
    return make_layer_net(layer, [Bottom(shape)], engine=engine, chain=chain)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_every_channel_has_its_slope_unless_shared(engine, shape, shared) -> None:
    net = prelu(f"channel_shared: {shared}", shape, engine)
    (slope,) = net.params["under_test"]
    assert slope.shape == (() if shared == "true" else (3,))
    net.forward()
    x = net.blobs["x0"].data
    slopes = slope.data.reshape(-1, *[1] * (len(shape) - 2))
    np.testing.assert_allclose(net.blobs["y0"].data, np.maximum(x, 0) + slopes * np.minimum(x, 0))
    check(net)


def test_negative_slopes_in_place(engine) -> None:
    apart, in_place = (prelu("", (2, 3, 4), engine, chain=chain) for chain in ("apart", "in place"))
    results = []
    for net in (apart, in_place):
        net.params["under_test"][0].data[...] = [-2, -0.5, 0]
        # Between the Sigmoid and the layer under test, all values are positive: make some of them negative.
        middle = HostBlob(net.nodes[-2].bottom[0])
        net.forward(end="before")
        middle.data[...] -= 0.5
        net.forward(start="under_test")
        last = net.blobs[net.outputs[0]]
        last.diff[...] = np.linspace(-1, 1, last.count).reshape(last.shape)
        net.backward()
        results.append((net.blobs["x0"].diff.copy(), net.params["under_test"][0].diff.copy()))
    for mine, other in zip(*results, strict=True):
        assert mine.any()
        np.testing.assert_allclose(mine, other, rtol=1e-12)


def test_gradients_of_a_shared_slope_add_up(engine) -> None:
    net = prelu("channel_shared: true", (2, 3, 4), engine)
    for _ in range(3):
        net.forward()
        net.blobs["y0"].diff[...] = 1
        net.backward()
    (slope,) = net.params["under_test"]
    np.testing.assert_allclose(slope.diff, 3 * np.minimum(net.blobs["x0"].data, 0).sum())


def test_fillers(make_net) -> None:
    net = make_net("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "default" type: "PReLU" bottom: "x" top: "a" }
        layer { name: "given" type: "PReLU" bottom: "x" top: "b" prelu_param { filler { value: 0.5 } } }
    """)
    assert [net.params[name][0].data.tolist() for name in ("default", "given")] == [[0.25] * 3, [0.5] * 3]


def test_too_few_axes(engine) -> None:
    with pytest.raises(LayerError, match=r"the bottom's shape \(6,\) has 1 axes. PReLU needs 2 or more: \(N, C, ...\)"):
        prelu("", (6,), engine)


def test_the_channels_may_not_change(engine) -> None:
    net = prelu("", (2, 3, 4), engine)
    net.blobs["x0"].reshape(5, 3, 2)
    net.forward()
    assert net.blobs["y0"].shape == (5, 3, 2)
    net.blobs["x0"].reshape(2, 4, 4)
    with pytest.raises(
        LayerError, match=r"the channels of the bottom's shape \(2, 4, 4\) do not agree with the 3 slopes"
    ):
        net.reshape()
