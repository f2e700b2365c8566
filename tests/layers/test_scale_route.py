from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.errors import CaffeError
from caffe_lite.layers.scale_route import ScaleRouteLayer
from caffe_lite.proto.caffe_pb2 import LayerParameter

from .cascade import random_regions, run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ones", [(), (1, 1)])
@pytest.mark.parametrize(
    ("param", "low", "high"),
    [("low_scale: 20", 20, 1e9), ("high_scale: 25", 0, 25), ("low_scale: 18 high_scale: 30", 18, 30), ("", 0, 1e9)],
)
def test_the_right_sizes_pass(engine, param, low, high, ones, dtype) -> None:
    rng = np.random.default_rng(0)
    regions, more = random_regions(rng, 30), rng.normal(0, 1, (30, 2, 3))
    sizes = [((x2 - x1 + 1) * (y2 - y1 + 1)) ** 0.5 for _, x1, y1, x2, y2 in regions]
    chosen = [i for i, size in enumerate(sizes) if low <= size < high]
    assert chosen
    layer = f'type: "ScaleRoute" scale_route_param {{ {param} }}'
    _, tops = run(layer, [regions.reshape(30, 5, *ones), more], 2, engine=engine, dtype=dtype)
    np.testing.assert_allclose(tops[0], regions.reshape(30, 5, *ones)[chosen], rtol=1e-6)
    np.testing.assert_allclose(tops[1], more[chosen], rtol=1e-6)


def squares(*sizes: float) -> np.ndarray:
    return np.array([[0, 0, 0, size - 1, size - 1] for size in sizes])


@pytest.mark.parametrize(
    ("param", "sizes", "nearest"),
    [
        ("low_scale: 100 high_scale: 400", [20, 90, 500], 1),
        ("low_scale: 100 high_scale: 400", [20, 70, 450], 2),
        ("low_scale: 100", [20, 90, 30], 1),
        ("high_scale: 10", [20, 90, 30], 0),
        ("low_scale: 10 high_scale: 10", [0, 12, 5], 1),
        ("low_scale: 10", [0, 0], 0),
    ],
)
def test_the_nearest_passes_if_none_fits(engine, param, sizes, nearest) -> None:
    layer = f'type: "ScaleRoute" scale_route_param {{ {param} }}'
    _, tops = run(layer, [squares(*sizes), np.arange(len(sizes))[:, None]], 2, engine=engine)
    np.testing.assert_array_equal(tops[0], squares(*sizes)[[nearest]])
    np.testing.assert_array_equal(tops[1], [[nearest]])


def test_the_upper_end_is_excluded_and_no_region_is_none(engine) -> None:
    layer = 'type: "ScaleRoute" scale_route_param { low_scale: 10 high_scale: 20 }'
    _, (top,) = run(layer, [squares(10, 20, 15)], engine=engine)
    np.testing.assert_array_equal(top, squares(10, 15))
    net, (top,) = run(layer, [np.zeros((0, 5))], engine=engine)
    assert top.shape == (0, 5)
    net.backward()


@pytest.mark.parametrize(
    ("param", "shapes", "tops", "what"),
    [
        ("low_scale: 2 high_scale: 1", [(1, 5)], 1, "low_scale is 2, high_scale 1"),
        ("low_scale: 0", [(1, 5)], 1, "low_scale is 0"),
        ("", [(1, 4)], 1, "the regions have the shape (1, 4)"),
        ("", [(1, 5), (2, 3)], 2, "differ in their first axis"),
        ("", [(1, 5), (1, 3)], 1, "2 bottoms and 1 tops"),
    ],
)
def test_errors(engine, param, shapes, tops, what) -> None:
    with pytest.raises(CaffeError) as error:
        run(f'type: "ScaleRoute" scale_route_param {{ {param} }}', [np.zeros(s) for s in shapes], tops, engine=engine)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("param", "caption"),
    [("low_scale: 112 high_scale: 224", "from 112 to 224"), ("high_scale: 56.5", "to 56.5"), ("", "")],
)
def test_caption(param, caption) -> None:
    layer = text_format.Parse(f"scale_route_param {{ {param} }}", LayerParameter())
    assert ScaleRouteLayer.caption(layer) == caption
