from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError


def reshape(make_net, param, shape=(2, 3, 4, 5), top="y"):
    dims = " ".join(f"dim: {n}" for n in shape)
    return make_net(f"""
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
        layer {{ name: "re" type: "Reshape" bottom: "x" top: "{top}" reshape_param {{ {param} }} }}""")


@pytest.mark.parametrize(
    ("param", "shape"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 60)),
        ("shape { dim: -1 }", (120,)),
        ("shape { dim: 6 dim: 20 }", (6, 20)),
        ("shape { dim: 2 dim: -1 } axis: 2", (2, 3, 2, 10)),
        ("shape { dim: 2 dim: 2 } axis: 2 num_axes: 1", (2, 3, 2, 2, 5)),
        ("shape { dim: 1 } axis: 1 num_axes: 0", (2, 1, 3, 4, 5)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 5, 1)),
        ("shape { dim: -1 } axis: -3 num_axes: 2", (2, 3, 20)),
        ("shape { dim: 0 dim: -1 } axis: 1", (2, 3, 20)),
    ],
)
def test_shapes(make_net, param, shape):
    net = reshape(make_net, param)
    net.blobs["x"].data[...] = np.arange(120).reshape(2, 3, 4, 5)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data, np.arange(120).reshape(shape))


def test_an_inferred_dimension_follows_the_input(make_net):
    net = reshape(make_net, "shape { dim: 0 dim: -1 }")
    net.blobs["x"].reshape(7, 2, 2)
    net.forward()
    assert net.blobs["y"].shape == (7, 4)


@pytest.mark.parametrize(
    ("param", "shape", "top"),
    [
        ("shape { dim: 0 dim: -1 }", (0, 3, 4, 5), (0, 60)),
        ("shape { dim: 0 dim: -1 dim: 2 }", (0, 3, 4, 5), (0, 30, 2)),
        ("shape { dim: -1 dim: 6 }", (0, 3, 4, 5), (0, 6)),
        ("shape { dim: -1 }", (0, 3, 4, 5), (0,)),
        ("shape { dim: 2 dim: -1 } axis: 1 num_axes: 2", (0, 3, 4, 5), (0, 2, 6, 5)),
        ("shape { dim: -1 dim: 3 } num_axes: 2", (2, 3, 0, 5), (2, 3, 0, 5)),
        ("shape { dim: 0 dim: -1 }", (2, 0, 5), (2, 0)),
        ("shape { dim: 0 dim: 3 dim: 20 }", (0, 3, 4, 5), (0, 3, 20)),
    ],
)
def test_an_empty_batch_has_the_shape_of_any_other(make_net, param, shape, top):
    net = reshape(make_net, param, shape)
    assert net.forward()["y"].shape == top


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=4), data=st.data())
def test_any_part_of_a_shape_can_be_kept_or_inferred(make_net, shape, data):
    start = data.draw(st.integers(0, len(shape)))
    end = data.draw(st.integers(start, len(shape)))
    dims = shape[start:end]
    inferred = data.draw(st.integers(0, len(dims)))
    written = [-1 if i == inferred else data.draw(st.sampled_from([0, n])) for i, n in enumerate(dims)]
    param = f"axis: {start} num_axes: {end - start} shape {{ {' '.join(f'dim: {n}' for n in written)} }}"
    net = reshape(make_net, param, shape)
    assert net.blobs["y"].shape == tuple(shape)
    assert net.blobs["y"].count == prod(shape)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("shape { dim: -1 dim: -1 }", "the shape [-1, -1] holds several -1"),
        ("shape { dim: -2 }", "the shape [-2] holds a dimension below -1"),
        ("num_axes: -2", "num_axes is -2"),
        ("axis: 5", "axis 5 is out of range for a bottom with 4 axes. Use -5 to 4"),
        ("axis: -6", "axis -6 is out of range"),
        ("axis: 2 num_axes: 3", "3 axes from axis 2 on exceed the 4 axes of the bottom (2, 3, 4, 5)"),
        ("shape { dim: 120 dim: 1 dim: 1 dim: 1 dim: 0 }", "keeps (0) axis 4, and the bottom (2, 3, 4, 5) has no such"),
        ("shape { dim: 7 dim: -1 }", "no size for the -1 in [7, -1] gives the 120 values of the bottom (2, 3, 4, 5)"),
        ("shape { dim: 7 dim: 2 }", "the top (7, 2) would hold 14 values, the bottom (2, 3, 4, 5) holds 120"),
    ],
)
def test_what_is_refused(make_net, param, what):
    with pytest.raises(LayerError) as error:
        reshape(make_net, param)
    assert what in str(error.value)


def test_running_in_place_is_refused(make_net):
    with pytest.raises(LayerError, match="Reshape cannot run in place"):
        reshape(make_net, "shape { dim: -1 }", top="x")


def test_channels_become_pixels(make_net):
    net = reshape(make_net, "pixelshuffler: 2", (2, 8, 3, 5))
    x = np.random.default_rng(0).standard_normal((2, 8, 3, 5)).astype(np.float32)
    y = net.forward(x=x)["y"]
    assert y.shape == (2, 2, 6, 10)
    for c, h, w in np.ndindex(8, 3, 5):
        assert np.array_equal(y[:, c // 4, 2 * h + c // 2 % 2, 2 * w + c % 2], x[:, c, h, w])


@pytest.mark.parametrize(("r", "what"), [(0, "pixelshuffler is 0"), (3, "cannot be shuffled by 3")])
def test_pixels_that_channels_cannot_become(make_net, r, what):
    with pytest.raises(LayerError, match=what):
        reshape(make_net, f"pixelshuffler: {r}", (2, 4, 3, 5))
