from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as layer_net

MakeNet = Callable[..., Net]


def loss_net(make_net: MakeNet, a: tuple[int, ...], b: tuple[int, ...], layer: str = "") -> Net:
    text = ""
    for name, shape in (("a", a), ("b", b)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    return make_net(
        f'{text} layer {{ name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" {layer} }}'
    )


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_either_bottom_may_learn(make_net: MakeNet, first: bool, second: bool) -> None:
    asked = "".join(f"propagate_down: {str(wanted).lower()} " for wanted in (first, second))
    net = loss_net(make_net, (2, 3), (2, 3), f"loss_weight: 3 {asked}")
    net.blobs["a"].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.blobs["b"].data[...] = [[1, 0, 3], [4, 5, 9]]
    assert float(net.forward()["loss"]) == (4 + 9) / (2 * 2)
    net.backward()
    gradient = 3 * np.array([[0, 2, 0], [0, 0, -3]]) / 2
    np.testing.assert_array_equal(net.blobs["a"].diff, gradient * first)
    np.testing.assert_array_equal(net.blobs["b"].diff, -gradient * second)


def test_both_bottoms_learn_under_force_backward(make_net: MakeNet) -> None:
    net = make_net(
        """force_backward: true
        layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 2 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" }"""
    )
    net.blobs["a"].data[...] = [[1, 2], [3, 4]]
    net.forward()
    net.backward()
    assert net.blobs["a"].diff.tolist() == [[0.5, 1], [1.5, 2]]
    assert net.blobs["b"].diff.tolist() == [[-0.5, -1], [-1.5, -2]]


@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3, 1)), ((3, 1), (3,)), ((3, 2, 2), (3, 4)), ((1, 2, 1, 3, 1, 2), (1, 12))]
)
def test_shapes_may_differ_behind_the_first_axis(make_net: MakeNet, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    net = loss_net(make_net, a, b, "propagate_down: true propagate_down: true")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, a[0], int(np.prod(a[1:], dtype=int))))
    net.blobs["a"].data[...] = values[0].reshape(a)
    net.blobs["b"].data[...] = values[1].reshape(b)
    difference = values[0] - values[1]
    assert float(net.forward()["loss"]) == pytest.approx((difference**2).sum() / (2 * a[0]), rel=1e-5)
    net.backward()
    np.testing.assert_allclose(net.blobs["a"].diff, (difference / a[0]).reshape(a), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(net.blobs["b"].diff, (-difference / a[0]).reshape(b), rtol=1e-4, atol=1e-7)


def test_an_empty_batch_costs_nothing(make_net: MakeNet) -> None:
    assert float(loss_net(make_net, (0, 3), (0, 3)).forward()["loss"]) == 0


def test_counts_that_differ(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"\(4, 5\) and \(4, 6\) have 5 and 6 values for each sample"):
        loss_net(make_net, (4, 5), (4, 6))


def test_a_third_bottom_weighs_the_differences(engine) -> None:
    """Once for the gradient, as in naibaf7's Caffe, which divides by the number of values."""
    values = [[[1.0, 2, 3], [4, 5, 6]], [[0, 0, 1], [1, 0, 9]], [[2, 0, 1], [3, 1, 0]]]
    net = layer_net(
        'type: "EuclideanLoss"', [Bottom((2, 3), lambda rng, v=v: np.array(v)) for v in values], engine=engine
    )
    net.forward()
    net.backward()
    difference = np.array([[2, 0, 2], [9, 5, 0]])
    assert net.blobs["y0"].data == pytest.approx((difference**2).sum() / 12)
    np.testing.assert_allclose(net.blobs["x0"].diff, difference / 6)
    np.testing.assert_allclose(net.blobs["x1"].diff, -difference / 6)
