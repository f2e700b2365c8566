from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net

X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 6 } } }'
POOL = """layer { name: "pool" type: "Pooling" bottom: "x" top: "p" top: "mask"
    pooling_param { kernel_size: %d stride: 2 } }"""
UP = 'layer { name: "up" type: "Upsample" bottom: "p" bottom: "mask" top: "y" upsample_param { %s } }'


@pytest.mark.parametrize(
    ("kernel", "size"),
    [
        (2, "upsample_h: 5 upsample_w: 6"),
        (3, "upsample_h: 5 upsample_w: 6"),
        (2, "pad_out_h: true"),
        (2, "scale_h: 2 scale_w: 2"),
    ],
)
def test_the_largest_of_each_window_returns_to_its_place(kernel, size, make_net) -> None:
    """In a 6 x 6 plane (scale_h), the indices of a 5 x 6 plane still mean the same pixels."""
    height = 6 if "scale_h" in size else 5
    net = make_net("force_backward: true " + X + POOL % kernel + UP % size)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    net.blobs["x"].data[...] = x
    net.forward()
    wanted = np.zeros((2, 3, height, 6), np.float32)
    chosen = set()
    for n, c, i, j in np.ndindex(2, 3, *net.blobs["p"].shape[2:]):
        window = x[n, c, 2 * i : 2 * i + kernel, 2 * j : 2 * j + kernel]
        h, w = np.unravel_index(window.argmax(), window.shape)
        wanted[n, c, 2 * i + h, 2 * j + w] = window.max()
        chosen.add((n, c, 2 * i + h, 2 * j + w))
    np.testing.assert_array_equal(net.blobs["y"].data, wanted)
    dy = rng.normal(size=wanted.shape).astype(np.float32)
    net.blobs["y"].diff[...] = dy
    net.backward()
    dp = net.blobs["p"].diff
    mask = net.blobs["mask"].data.astype(int)
    for n, c, i, j in np.ndindex(dp.shape):
        assert dp[n, c, i, j] == dy[n, c].ravel()[mask[n, c, i, j]]


@pytest.mark.parametrize(
    "layer", ['"Upsample" upsample_param { scale: 3 }', '"UpsampleDarknet" upsample_darknet_param { stride: 3 }']
)
def test_pixels_are_repeated(layer, engine) -> None:
    net = make_net(f"type: {layer}", [Bottom((2, 3, 2, 5))], engine=engine)
    net.forward()
    x = net.blobs["x0"].data
    np.testing.assert_array_equal(net.blobs["y0"].data, x.repeat(3, 2).repeat(3, 3))


def test_of_equal_indices_the_last_counts(engine) -> None:
    mask = Bottom((1, 1, 1, 3), lambda rng: np.array([[[[2, 0, 2]]]]))
    net = make_net(
        'type: "Upsample" upsample_param { upsample_h: 1 upsample_w: 4 }', [Bottom((1, 1, 1, 3)), mask], engine=engine
    )
    net.blobs["x0"].data[...] = [[[[5, 6, 7]]]]
    net.forward()
    assert net.blobs["y0"].data.tolist() == [[[[6, 0, 7, 0]]]]
    net.blobs["y0"].diff[...] = [[[[1, 2, 3, 4]]]]
    net.backward()
    assert net.blobs["x0"].diff.tolist() == [[[[3, 1, 3]]]]


@pytest.mark.parametrize("wrong", [-1, 24])
def test_an_index_outside_the_top_is_refused(wrong, engine) -> None:
    mask = Bottom((1, 1, 2, 3), lambda rng: np.full((1, 1, 2, 3), wrong))
    net = make_net('type: "Upsample"', [Bottom((1, 1, 2, 3)), mask], engine=engine)
    with pytest.raises(LayerError, match=rf"index {wrong} of sample 0.* none of the 24 pixels of the top, 4 x 6"):
        net.forward()


def test_the_size_follows_the_bottom(engine) -> None:
    net = make_net('type: "Upsample"', [Bottom((1, 1, 2, 3))] * 2, engine=engine)
    assert net.blobs["y0"].shape == (1, 1, 4, 6)
    for name in ("x0", "x1"):
        net.blobs[name].reshape(1, 1, 3, 3)
    net.reshape()
    assert net.blobs["y0"].shape == (1, 1, 6, 6)


@pytest.mark.parametrize(
    ("bottoms", "param", "message"),
    [
        ([(2, 3)], "", r"shape \(2, 3\) has 2 axes"),
        ([(1, 1, 2, 3)], "scale_h: 2 scale_w: 2", "scale_h is given, and there is no mask"),
        ([(1, 1, 2, 3)], "scale: 0", "the scale is 0"),
        ([(1, 1, 2, 3), (1, 1, 3, 2)], "", r"mask's shape \(1, 1, 3, 2\) is not the bottom's"),
        ([(1, 1, 2, 3)] * 2, "upsample_h: 3", "of height and width one is given"),
        ([(1, 1, 2, 3)] * 2, "scale: 2 scale_h: 2 scale_w: 2", "both scale and scale_h"),
        ([(1, 1, 2, 3)] * 2, "scale: 3 pad_out_w: true", "pad_out_w is set, and the scale is 3"),
    ],
)
def test_errors(bottoms, param, message, engine) -> None:
    with pytest.raises(LayerError, match=message):
        make_net(f'type: "Upsample" upsample_param {{ {param} }}', [Bottom(shape) for shape in bottoms], engine=engine)


def test_the_top_of_scale_1_can_be_written_to(make_net) -> None:
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 2, 3, 4] } } } '
        'layer { name: "y" type: "Upsample" bottom: "x" top: "x" upsample_param { scale: 1 } }'
    )
    net.forward()
    net.blobs["x"].data[...] = 3
    assert (net.forward(start="y")["x"] == 3).all()
