from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net

SHAPE = (2, 3, 4, 5)


def scale(params: str, *shapes: tuple[int, ...], engine: str):
    return make_layer_net(f'type: "Scale" scale_param {{ {params} }}', [Bottom(s) for s in shapes], engine=engine)


def over_bottom(operand: np.ndarray, first: int) -> np.ndarray:
    """Return the operand with 1s for the axes of the bottom that it does not span."""
    return operand.reshape((1,) * first + operand.shape + (1,) * (len(SHAPE) - first - operand.ndim))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("params", "first", "shape"),
    [
        ("", 1, (3,)),
        ("axis: 0", 0, (2,)),
        ("axis: -1", 3, (5,)),
        ("axis: 1 num_axes: 2", 1, (3, 4)),
        ("axis: 0 num_axes: 4", 0, SHAPE),
        ("axis: 0 num_axes: -1", 0, SHAPE),
        ("axis: 2 num_axes: -1", 2, (4, 5)),
        ("axis: 3 num_axes: 0", 0, ()),
    ],
)
def test_which_axes_a_learned_scale_spans(engine, params, first, shape, bias) -> None:
    net = scale(params + " bias_term: true" * bias, SHAPE, engine=engine)
    assert [blob.shape for blob in net.params["under_test"]] == [shape] * (1 + bias)
    net.forward()
    expected = net.blobs["x0"].data * over_bottom(net.params["under_test"][0].data, first)
    if bias:
        expected = expected + over_bottom(net.params["under_test"][1].data, first)
    np.testing.assert_allclose(net.blobs["y0"].data, expected)
    check(net)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("params", "first", "shape"),
    [
        ("", 1, (3,)),
        ("num_axes: 9", 1, (3, 4, 5)),
        ("axis: 0", 0, SHAPE),
        ("axis: 0", 0, (2, 3)),
        ("axis: -2", 2, (4, 5)),
        ("axis: 9", 0, ()),
    ],
)
def test_which_axes_a_given_scale_spans(engine, params, first, shape, bias) -> None:
    net = scale(params + " bias_term: true" * bias, SHAPE, shape, engine=engine)
    assert len(net.params.get("under_test", ())) == bias
    net.forward()
    expected = net.blobs["x0"].data * over_bottom(net.blobs["x1"].data, first)
    if bias:
        expected = expected + over_bottom(net.params["under_test"][0].data, first)
    np.testing.assert_allclose(net.blobs["y0"].data, expected)
    check(net)


def test_fillers(make_net) -> None:
    net = make_net("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "default" type: "Scale" bottom: "x" top: "a" scale_param { bias_term: true } }
        layer { name: "given" type: "Scale" bottom: "x" top: "b" scale_param {
            filler { value: 4 } bias_term: true bias_filler { value: 5 } } }
    """)
    filled = {name: [blob.data.tolist() for blob in net.params[name]] for name in ("default", "given")}
    assert filled == {"default": [[1] * 3, [0] * 3], "given": [[4] * 3, [5] * 3]}


@pytest.mark.parametrize(
    ("params", "shapes", "message"),
    [
        ("num_axes: -2", (SHAPE,), "num_axes is -2. Use 0 or more, or -1 for all axes from axis on"),
        ("axis: 2 num_axes: 3", (SHAPE,), "num_axes 3 from axis 2 on goes past the end of the bottom's shape"),
        ("axis: 4", (SHAPE,), "axis 4 is out of range for a bottom with 4 axes. Use -4 to 3"),
        ("axis: 0", (SHAPE, (3,)), "the scale's shape (3,) does not agree with the bottom's shape (2, 3, 4, 5) from"),
        ("axis: 2", (SHAPE, (4, 5, 1)), "the scale's shape (4, 5, 1) does not agree"),
        ("axis: 4", (SHAPE, (3,)), "axis 4 is out of range"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, shapes, message) -> None:
    with pytest.raises(LayerError) as caught:
        scale(params, *shapes, engine=engine)
    assert str(caught.value).startswith(f'layer "under_test" (Scale): {message}')


def test_unscaled_axes_may_change_and_scaled_ones_may_not(engine) -> None:
    net = scale("", SHAPE, engine=engine)
    net.blobs["x0"].reshape(7, 3, 2, 2)
    net.forward()
    assert net.blobs["y0"].shape == (7, 3, 2, 2)
    net.blobs["x0"].reshape(2, 4, 2, 2)
    with pytest.raises(LayerError, match=r"the scale's shape \(3,\) does not agree"):
        net.reshape()


def test_a_bias_beside_a_given_scale_may_not_change(engine) -> None:
    net = scale("axis: 0 bias_term: true", SHAPE, (2, 3), engine=engine)
    net.blobs["x0"].reshape(4, 3, 2, 2)
    net.blobs["x1"].reshape(4, 3)
    with pytest.raises(LayerError, match=r"the scale's shape is now \(4, 3\), the bias has \(2, 3\)"):
        net.reshape()
