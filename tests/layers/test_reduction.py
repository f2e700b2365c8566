from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net

OPERATIONS = {
    "SUM": np.sum,
    "ASUM": lambda x, axis: np.abs(x).sum(axis),
    "SUMSQ": lambda x, axis: (x * x).sum(axis),
    "MEAN": np.mean,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(deadline=None, max_examples=15)
@given(data=st.data(), shape=st.lists(st.integers(1, 3), min_size=1, max_size=5).map(tuple))
def test_any_axis(operation: str, data: st.DataObject, shape: tuple[int, ...], engine: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    coeff = data.draw(st.sampled_from([1, -0.5, 3]), "coeff")
    layer = f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine)
    check(net)
    net.forward()
    x, first = net.blobs["x0"].data, axis % len(shape)
    assert net.blobs["y0"].shape == shape[:first]
    expected = coeff * OPERATIONS[operation](x, tuple(range(first, len(shape))))
    np.testing.assert_allclose(net.blobs["y0"].data, expected, rtol=1e-12, atol=1e-12)


def test_as_a_loss(make_net) -> None:
    net = make_net("""force_backward: true
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "loss" type: "Reduction" bottom: "x" top: "loss" loss_weight: 3
                reduction_param { operation: SUMSQ } }""")
    net.forward(x=np.full((2, 3), -0.5))
    assert net.blobs["loss"].data == 1.5
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, np.full((2, 3), -3))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_reduces_to_zero(engine, operation) -> None:
    layer = f'type: "Reduction" reduction_param {{ operation: {operation} axis: 1 }}'
    net = make_layer_net(layer, [Bottom((2, 0), lambda rng: np.zeros((2, 0)))], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, [0, 0])


@pytest.mark.parametrize(
    ("shape", "axis", "what"),
    [
        ((2, 3), 2, "axis 2 is out of range for a bottom with 2 axes. Use -2 to 1."),
        (
            (),
            0,
            "axis 0 is out of range for a bottom with 0 axes. A scalar has no axes: give the layer another bottom.",
        ),
    ],
)
def test_an_axis_that_is_not_there(engine, shape, axis, what) -> None:
    with pytest.raises(LayerError) as error:
        make_layer_net(f'type: "Reduction" reduction_param {{ axis: {axis} }}', [Bottom(shape)], engine=engine)
    assert what in str(error.value)
