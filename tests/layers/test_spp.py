from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


def spp(params: str, shape: tuple[int, ...], engine: str, phase: int = TEST):
    return make_layer_net(f'type: "SPP" spp_param {{ {params} }}', [Bottom(shape)], engine=engine, phase=phase)


@pytest.mark.parametrize(("pool", "reduce"), [("MAX", np.max), ("AVE", np.mean)])
def test_an_image_that_divides_evenly(engine, pool, reduce) -> None:
    net = spp(f"pyramid_height: 3 pool: {pool}", (2, 3, 8, 12), engine)
    net.forward()
    x = net.blobs["x0"].data
    levels = [reduce(x.reshape(2, 3, n, 8 // n, n, 12 // n), axis=(3, 5)).reshape(2, -1) for n in (1, 2, 4)]
    np.testing.assert_allclose(net.blobs["y0"].data, np.concatenate(levels, 1))


def test_bins_of_an_uneven_image_begin_in_the_padding(engine) -> None:
    """5 rows in 2 bins have 3 rows each; one row of the first bin is in the padding before the image."""
    net = spp("pyramid_height: 2", (1, 1, 5, 4), engine)
    net.forward()
    x = net.blobs["x0"].data[0, 0]
    bins = [x, x[:2, :2], x[:2, 2:], x[2:, :2], x[2:, 2:]]
    np.testing.assert_array_equal(net.blobs["y0"].data, [[part.max() for part in bins]])


def test_a_single_level_keeps_its_axes(engine) -> None:
    net = spp("pyramid_height: 1 pool: AVE", (2, 3, 5, 4), engine)
    net.forward()
    assert net.blobs["y0"].shape == (2, 3, 1, 1)
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data.mean((2, 3), keepdims=True))


def test_images_of_any_size_give_as_many_numbers(engine) -> None:
    net = spp("pyramid_height: 3", (1, 2, 8, 8), engine)
    for size in ((9, 7), (20, 33), (4, 4)):
        net.blobs["x0"].reshape(1, 2, *size)
        net.blobs["x0"].data[...] = Bottom((1, 2, *size)).fill(np.random.default_rng(0), 0, 1)
        net.forward()
        assert net.blobs["y0"].shape == (1, 42)
        check(net)


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ("", (1, 2, 4, 4), "pyramid_height is 0. Give spp_param a pyramid_height of at least 1"),
        ("pyramid_height: 3", (1, 2, 8, 5), "a level of 4 x 4 bins does not fit an image of 8 x 5"),
        ("pyramid_height: 2", (2, 4, 4), "the bottom's shape (2, 4, 4) has 3 axes"),
        ("pyramid_height: 2 pool: STOCHASTIC", (1, 2, 4, 5),
         "an image of 4 x 5 needs padding for 2 x 2 bins, and STOCHASTIC pooling takes none. Use images whose height"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, shape, message) -> None:
    with pytest.raises(LayerError) as caught:
        spp(params, shape, engine)
    assert str(caught.value).startswith(f'layer "under_test" (SPP): {message}')
