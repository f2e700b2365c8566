"""ROIPooling, and what all layers over regions refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST
from caffe_lite.errors import EngineError, LayerError

from .gradient import Bottom, check, make_net


def regions(*rows: list[float]) -> Bottom:
    return Bottom((len(rows), 5), lambda rng: np.array(rows, float).reshape(-1, 5))


def random_regions(rng: np.random.Generator, count: int, images: int, width: float, height: float) -> np.ndarray:
    """Draw regions of any size, some partly or wholly outside the image, some inverted."""
    corners = rng.uniform(-0.3, 1.3, (count, 4)) * [width, height, width, height]
    ordered = np.sort(corners.reshape(-1, 2, 2), 1).reshape(-1, 4)
    corners = np.where(rng.random((count, 1)) < 0.8, ordered, corners)
    return np.column_stack([rng.integers(0, images, count), corners])


def half_up(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def pooled(x: np.ndarray, rois: np.ndarray, size: tuple[int, int], scale: float, pad: float) -> np.ndarray:
    """Compute the definition, bin by bin, in the arithmetic of x."""
    kind = x.dtype.type
    height, width = x.shape[2:]
    y = np.zeros((len(rois), x.shape[1], *size), x.dtype)
    for r, (n, x1, y1, x2, y2) in enumerate(rois.astype(x.dtype)):
        pad_w, pad_h = (x2 - x1 + 1) * kind(pad), (y2 - y1 + 1) * kind(pad)
        left, right = (half_up(v * kind(scale)) for v in (x1 - pad_w, x2 + pad_w))
        top, bottom = (half_up(v * kind(scale)) for v in (y1 - pad_h, y2 + pad_h))
        bin_h = kind(max(bottom - top + 1, 1)) / kind(size[0])
        bin_w = kind(max(right - left + 1, 1)) / kind(size[1])
        for i, j in np.ndindex(*size):
            rows = [math.floor(kind(i) * bin_h) + top, math.ceil(kind(i + 1) * bin_h) + top]
            columns = [math.floor(kind(j) * bin_w) + left, math.ceil(kind(j + 1) * bin_w) + left]
            (a, b), (c, d) = np.clip(rows, 0, height), np.clip(columns, 0, width)
            if b > a and d > c:
                y[r, :, i, j] = x[int(n), :, a:b, c:d].max((1, 2))
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_regions(data: st.DataObject, engine: str, dtype: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = tuple(data.draw(st.integers(1, most)) for most in (3, 5, 20, 20))
    size = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    scale, pad = data.draw(st.sampled_from([1, 0.25, 0.0625])), data.draw(st.sampled_from([0, 0.25]))
    rois = random_regions(rng, data.draw(st.integers(0, 6)), shape[0], shape[3] / scale, shape[2] / scale)
    param = f"pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: {scale} pad_ratio: {pad}"
    text = f'type: "ROIPooling" roi_pooling_param {{ {param} }}'
    bottoms = [Bottom(shape), Bottom(rois.shape, lambda _: rois)]
    net = make_net(text, bottoms, engine=engine, dtype=dtype, phase=TEST)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    np.testing.assert_array_equal(y, pooled(x, rois, size, scale, pad))
    # Each value goes back to the one pixel of its bin that has it: all differ here.
    net.blobs["y0"].diff[...] = dy = rng.standard_normal(y.shape)
    net.backward()
    dx = np.zeros_like(x, shape=x.shape, dtype=float)
    for r, c, i, j in np.ndindex(*y.shape):
        if y[r, c, i, j]:
            dx[x == y[r, c, i, j]] += dy[r, c, i, j]
    np.testing.assert_allclose(net.blobs["x0"].diff, dx, rtol=1e-5, atol=1e-6)


def test_more_channels_and_larger_tables_than_are_worked_on_at_a_time(engine: str, monkeypatch) -> None:
    from caffe_lite.layers.common import regions as module

    monkeypatch.setattr(module, "_TABLE", 20_000)
    monkeypatch.setattr(module, "_CACHED", 100)
    rng = np.random.default_rng(1)
    rois = random_regions(rng, 20, 2, 14, 11)
    bottoms = [Bottom((2, 7, 11, 14)), Bottom(rois.shape, lambda _: rois)]
    net = make_net('type: "ROIPooling" roi_pooling_param { pooled_size: 3 }', bottoms, engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, pooled(net.blobs["x0"].data, rois, (3, 3), 1, 0))
    check(net)


def test_of_equals_the_first_gets_the_gradient(engine: str) -> None:
    ones = Bottom((1, 1, 3, 4), lambda rng: np.ones((1, 1, 3, 4)))
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 2 }'
    net = make_net(text, [ones, regions([0, 0, 1, 3, 2])], engine=engine)
    net.forward()
    net.blobs["y0"].diff[...] = [[[[5, 7]]]]
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff[0, 0], [[0, 0, 0, 0], [5, 0, 7, 0], [0, 0, 0, 0]])


def test_a_nan_spreads_and_has_no_gradient(engine: str) -> None:
    values = np.arange(12.0).reshape(1, 1, 3, 4)
    values[0, 0, 2, 3] = np.nan
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 2 }'
    net = make_net(text, [Bottom(values.shape, lambda rng: values), regions([0, 0, 0, 3, 2])], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, [[[[9, np.nan]]]])
    net.blobs["y0"].diff[...] = 1
    net.backward()
    assert net.blobs["x0"].diff.sum() == 1


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [("pooled_h: 2 pooled_w: 3", (2, 3)), ("pooled_size: 2", (2, 2)), ("pooled_size: 2 pooled_size: 3", (2, 3))],
)
def test_sizes(engine: str, sizes: str, shape: tuple[int, int]) -> None:
    net = make_net(
        f'type: "ROIPooling" roi_pooling_param {{ {sizes} }}',
        [Bottom((1, 2, 4, 5)), Bottom((3, 5, 1, 1), lambda rng: np.zeros((3, 5, 1, 1)))],
        engine=engine,
    )
    assert net.forward()["y0"].shape == (3, 2, *shape)


SMALL = 'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 }'


@pytest.mark.parametrize(
    ("text", "bottoms", "message"),
    [
        (SMALL, [Bottom((2, 3, 4)), regions([0, 0, 0, 1, 1])], "the first bottom's shape (2, 3, 4) has 3 axes"),
        (SMALL, [Bottom((2, 3, 4, 4)), Bottom((3, 4))], "the regions have the shape (3, 4). Give five values for each"),
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 }', [Bottom((1, 1, 4, 4)), regions([0, 0, 0, 1, 1])],
         "pooled_h is 2, pooled_w is 0. Give both, each at least 1"),
        ('type: "ROIPooling" roi_pooling_param { pooled_size: 2 pooled_size: 2 pooled_size: 2 }',
         [Bottom((1, 1, 4, 4)), regions([0, 0, 0, 1, 1])], "pooled_size is [2, 2, 2]"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine: str, text: str, bottoms: list[Bottom], message: str) -> None:
    with pytest.raises(LayerError) as error:
        make_net(text, bottoms, engine=engine)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ([2, 0, 0, 1, 1], "the image of region 1 is 2, none of the 2 images, 0 to 1"),
        ([-1, 0, 0, 1, 1], "the image of region 1 is -1, none of the 2 images"),
        ([0, 0, np.nan, 1, 1], "region 1 has the value nan"),
    ],
)
def test_wrong_regions(engine: str, region: list[float], message: str) -> None:
    net = make_net(SMALL, [Bottom((2, 3, 4, 4)), regions([1, 0, 0, 1, 1], region)], engine=engine)
    with pytest.raises(LayerError) as error:
        net.forward()
    assert message in str(error.value)


def test_regions_far_outside(engine: str) -> None:
    net = make_net(SMALL, [Bottom((1, 3, 4, 4)), regions([0, -1e30, 1e30, 1e30, 3e38])], engine=engine)
    assert not net.forward()["y0"].any()


def test_it_cannot_be_compiled(make_net, engine: str) -> None:
    if engine != "torch":
        pytest.skip("only torch compiles")
    net = make_net(
        'layer { name: "in" type: "Input" top: "x" top: "r" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } '
        'shape { dim: 1 dim: 5 } } }\nlayer { name: "pool" bottom: "x" bottom: "r" top: "y" ' + SMALL + " }",
        TEST,
        compile=True,
    )
    with pytest.raises(EngineError, match="it cannot be compiled: what it reads depends on the values of the regions"):
        net.forward()
