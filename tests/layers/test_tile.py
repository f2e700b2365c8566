from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net


@settings(deadline=None, max_examples=20)
@given(data=st.data(), shape=st.lists(st.integers(1, 3), min_size=1, max_size=5).map(tuple))
def test_any_axis(data: st.DataObject, shape: tuple[int, ...], engine: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    tiles = data.draw(st.integers(1, 4), "tiles")
    net = make_net(f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}', [Bottom(shape)], engine=engine)
    check(net)
    net.forward()
    repeats = [1] * len(shape)
    repeats[axis] = tiles
    np.testing.assert_array_equal(net.blobs["y0"].data, np.tile(net.blobs["x0"].data, repeats))


@pytest.mark.parametrize("param", ["", "tile_param { tiles: 0 }", "tile_param { axis: 1 }"])
def test_the_number_of_tiles_must_be_given(engine, param) -> None:
    with pytest.raises(LayerError, match=r"tiles is 0\. Give tile_param a number of tiles of at least 1"):
        make_net(f'type: "Tile" {param}', [Bottom((2, 3))], engine=engine)


def test_an_axis_that_is_not_there(engine) -> None:
    with pytest.raises(LayerError, match="axis 1 is out of range for a bottom with 1 axes"):
        make_net('type: "Tile" tile_param { tiles: 2 }', [Bottom((3,))], engine=engine)
