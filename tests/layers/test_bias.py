from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net

SHAPE = (2, 3, 4, 5)


def bias(params: str, *shapes: tuple[int, ...], engine: str):
    return make_layer_net(f'type: "Bias" bias_param {{ {params} }}', [Bottom(s) for s in shapes], engine=engine)


@pytest.mark.parametrize(
    ("params", "shape", "behind"),
    [
        ("", (3,), 2),
        ("axis: 0 num_axes: 2", (2, 3), 2),
        ("axis: -2 num_axes: -1", (4, 5), 0),
        ("num_axes: 0", (), 0),
    ],
)
def test_which_axes_a_learned_bias_spans(engine, params, shape, behind) -> None:
    net = bias(params, SHAPE, engine=engine)
    (blob,) = net.params["under_test"]
    assert blob.shape == shape
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data + blob.data.reshape((*shape, *[1] * behind)))
    check(net)


@pytest.mark.parametrize(("params", "shape", "behind"), [("", (3, 4), 1), ("axis: 0", SHAPE, 0), ("axis: 3", (), 0)])
def test_which_axes_a_given_bias_spans(engine, params, shape, behind) -> None:
    net = bias(params, SHAPE, shape, engine=engine)
    assert "under_test" not in net.params
    net.forward()
    expected = net.blobs["x0"].data + net.blobs["x1"].data.reshape((*shape, *[1] * behind))
    np.testing.assert_allclose(net.blobs["y0"].data, expected)
    check(net)


def test_fillers(make_net) -> None:
    net = make_net("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "default" type: "Bias" bottom: "x" top: "a" }
        layer { name: "given" type: "Bias" bottom: "x" top: "b" bias_param { filler { value: 4 } } }
    """)
    assert [net.params[name][0].data.tolist() for name in ("default", "given")] == [[0] * 3, [4] * 3]


def test_gradients_of_a_scalar_add_up(engine) -> None:
    net = bias("num_axes: 0", SHAPE, engine=engine)
    for _ in range(3):
        net.forward()
        net.blobs["y0"].diff[...] = 1
        net.backward()
    np.testing.assert_allclose(net.params["under_test"][0].diff, 3 * 120)


@pytest.mark.parametrize(
    ("params", "shapes", "message"),
    [
        ("num_axes: -3", (SHAPE,), "num_axes is -3"),
        ("num_axes: 4", (SHAPE,), "num_axes 4 from axis 1 on goes past the end of the bottom's shape (2, 3, 4, 5)"),
        ("axis: -5", (SHAPE,), "axis -5 is out of range for a bottom with 4 axes"),
        ("", (SHAPE, (3, 5)), "the bias's shape (3, 5) does not agree with the bottom's shape (2, 3, 4, 5) from"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, shapes, message) -> None:
    with pytest.raises(LayerError) as caught:
        bias(params, *shapes, engine=engine)
    assert str(caught.value).startswith(f'layer "under_test" (Bias): {message}')
