from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def argmax(engine: str, param: str, x: np.ndarray) -> np.ndarray:
    net = make_layer_net(f'type: "ArgMax" argmax_param {{ {param} }}', [Bottom(x.shape, lambda rng: x)], engine=engine)
    net.forward()
    return net.blobs["y0"].data


def by_hand(row: np.ndarray, count: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (row[i], i), reverse=True)[:count]


@settings(deadline=None, max_examples=30)
@given(data=st.data(), shape=st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple))
def test_any_axis_with_many_ties(data: st.DataObject, shape: tuple[int, ...], engine: str) -> None:
    x = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 3, shape).astype(float)
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), "axis")
    rows = x.reshape(shape[0], -1) if axis is None else np.moveaxis(x, axis, -1)
    count = data.draw(st.integers(1, rows.shape[-1]), "top_k")
    index = np.apply_along_axis(by_hand, -1, rows, count)
    values = np.take_along_axis(rows, index, -1)
    param = f"top_k: {count}" + (f" axis: {axis}" if axis is not None else "")
    for out_max_val in (False, True):
        y = argmax(engine, f"{param} out_max_val: {str(out_max_val).lower()}", x)
        if axis is not None:
            expected = np.moveaxis(values if out_max_val else index, -1, axis)
        else:
            expected = np.stack([index, values] if out_max_val else [index], 1)
            expected = expected.reshape(expected.shape + (1,) * (len(shape) - 3))
        assert y.shape == expected.shape
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("shape", "param", "top"),
    [
        ((4,), "", (4, 1, 1)),
        ((4, 6), "", (4, 1, 1)),
        ((4, 6), "top_k: 3 out_max_val: true", (4, 2, 3)),
        ((4, 3, 5), "top_k: 15", (4, 1, 15)),
        ((4, 3, 5, 2), "out_max_val: true", (4, 2, 1, 1)),
        ((4, 3, 5, 2, 1), "top_k: 2", (4, 1, 2, 1, 1)),
        ((4, 3, 5, 2), "axis: 1", (4, 1, 5, 2)),
        ((4, 3, 5, 2), "axis: -1 top_k: 2 out_max_val: true", (4, 3, 5, 2)),
        ((4, 6), "axis: 0 top_k: 3", (3, 6)),
        ((0, 6), "", (0, 1, 1)),
    ],
)
def test_shapes(engine, shape, param, top) -> None:
    assert argmax(engine, param, np.zeros(shape)).shape == top


@pytest.mark.parametrize("top_k", [1, 2])
def test_of_equals_the_later_comes_first_and_a_nan_before_all(engine, top_k) -> None:
    x = np.array([[2, 7, 7, 1], [np.nan, 0, 0, np.inf]])
    y = argmax(engine, f"top_k: {top_k}", x)[:, 0]
    np.testing.assert_array_equal(y, np.array([[2, 1], [0, 3]])[:, :top_k])


@pytest.mark.parametrize(
    ("shape", "param", "what"),
    [
        ((4, 6), "top_k: 0", "top_k is 0, and the bottom (4, 6) has 6 values to choose from. Use 1 to 6."),
        ((4, 2, 3), "top_k: 7", "top_k is 7, and the bottom (4, 2, 3) has 6 values to choose from"),
        ((4, 2, 3), "top_k: 3 axis: 1", "top_k is 3, and the bottom (4, 2, 3) has 2 values"),
        ((4, 2), "axis: 2", "axis 2 is out of range for a bottom with 2 axes"),
        ((), "", "the bottom is a scalar"),
    ],
)
def test_what_is_refused(engine, shape, param, what) -> None:
    with pytest.raises(LayerError) as error:
        argmax(engine, param, np.zeros(shape))
    assert what in str(error.value)


def test_there_is_no_gradient(make_net) -> None:
    net = make_net("""
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "scores" inner_product_param { num_output: 3 } }
        layer { name: "best" type: "ArgMax" bottom: "scores" top: "best" loss_weight: 1 }""")
    net.forward()
    with pytest.raises(LayerError, match=r"layer \"best\" \(ArgMax\): an index has no gradient"):
        net.backward()


def test_the_smallest_may_come_first(engine: str) -> None:
    x = np.array([[3.0, 1, 2, 1], [0, 5, 0, 0]])
    np.testing.assert_array_equal(argmax(engine, "min_first: true top_k: 3", x), [[[1, 3, 2]], [[0, 2, 3]]])
    np.testing.assert_array_equal(argmax(engine, "min_first: true axis: 0 out_max_val: true", x), [[0, 1, 0, 0]])
