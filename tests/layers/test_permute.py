from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


def permute(engine: str, order, shape):
    fields = " ".join(f"order: {axis}" for axis in order)
    net = make_layer_net(
        f'type: "Permute" permute_param {{ {fields} }}',
        [Bottom(shape, lambda rng: rng.standard_normal(shape))],
        engine=engine,
    )
    net.forward()
    return net


@settings(deadline=None, max_examples=30)
@given(data=st.data(), shape=st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple))
def test_any_order(data, shape, engine) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    named = order[: data.draw(st.integers(0, len(shape)))]
    order = [*named, *(axis for axis in range(len(shape)) if axis not in named)]
    net = permute(engine, named, shape)
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    assert y.shape == tuple(shape[axis] for axis in order)
    for index in product(*map(range, shape)):
        assert y[tuple(index[axis] for axis in order)] == x[index]
    if x.size:
        check(net)


def test_what_follows_sees_the_new_order(make_net) -> None:
    net = make_net("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 2 dim: 3 } } }
        layer { name: "y" type: "Permute" bottom: "x" top: "y" permute_param { order: 0 order: 2 order: 3 order: 1 } }
        layer { name: "flat" type: "Flatten" bottom: "y" top: "flat" }""")
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    assert net.forward(x=x)["flat"].tolist() == [[0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]]


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ([0, 3], "order 3 is out of range for a bottom with 3 axes"),
        ([0, 1, 0], "order names an axis twice: 0, 1, 0"),
    ],
)
def test_what_is_refused(engine, order, what) -> None:
    with pytest.raises(LayerError) as error:
        permute(engine, order, (2, 3, 4))
    assert what in str(error.value)
