from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, labels
from .gradient import make_net as make_layer_net


def by_hand(a: np.ndarray, b: np.ndarray, similar: np.ndarray, margin: float, legacy: bool) -> float:
    total = 0.0
    for d, alike in zip(np.linalg.norm((a - b).reshape(len(a), -1), axis=1), similar.ravel(), strict=True):
        total += d**2 if alike else max(margin - d**2, 0) if legacy else max(margin - d, 0) ** 2
    return total / (2 * len(a))


@settings(deadline=None, max_examples=20)
@given(
    samples=st.integers(1, 4),
    behind=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    ones=st.integers(0, 3),
    margin=st.sampled_from([0.47, 2.03, 20.0]),
    legacy=st.booleans(),
)
def test_any_shape(samples, behind, ones, margin, legacy, engine) -> None:
    vectors = Bottom((samples, *behind))
    param = f"margin: {margin} legacy_version: {str(legacy).lower()}"
    layer = f'type: "ContrastiveLoss" contrastive_loss_param {{ {param} }}'
    net = make_layer_net(layer, [vectors, vectors, labels(2, samples, *[1] * ones)], engine=engine)
    net.forward()
    margin = float(np.float32(margin))  # as prototxt stores it
    a, b, similar = (net.blobs[f"x{i}"].data for i in range(3))
    assert float(net.blobs["y0"].data) == pytest.approx(by_hand(a, b, similar, margin, legacy), rel=1e-12)
    if legacy:
        check(net)
    else:  # because of its 1e-4, the gradient is not that of the loss
        net.backward()
        difference, similar = (a - b).reshape(samples, -1), similar.reshape(samples, 1)
        distance = np.linalg.norm(difference, axis=1, keepdims=True)
        pull = np.where(similar, 1, -np.maximum(margin - distance, 0) / (distance + 1e-4))
        expected = (difference * pull / samples).reshape(a.shape)
        np.testing.assert_allclose(net.blobs["x0"].diff, expected, rtol=1e-12)
        np.testing.assert_allclose(net.blobs["x1"].diff, -expected, rtol=1e-12)


def loss_net(make_net, more: str = "", a: str = "dim: 4 dim: 2", b: str = "dim: 4 dim: 2", similar: str = "dim: 4"):
    return make_net(f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "a" top: "b" top: "s"
                 input_param {{ shape {{ {a} }} shape {{ {b} }} shape {{ {similar} }} }} }}
        layer {{ name: "loss" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s" top: "loss" {more} }}""")


def test_gradients_by_hand(make_net) -> None:
    net = loss_net(make_net, "loss_weight: 8 contrastive_loss_param { margin: 10 }")
    a = np.array([[3, 4], [3, 4], [30, 40], [0, 0]])
    loss = net.forward(a=a, b=np.zeros((4, 2)), s=np.array([1, 0, 0, 0]))["loss"]
    assert loss == pytest.approx((25 + 25 + 0 + 100) / 8)
    net.backward()
    expected = np.array([[6, 8], [-6 / 1.00002, -8 / 1.00002], [0, 0], [0, 0]])
    np.testing.assert_allclose(net.blobs["a"].diff, expected, rtol=1e-6)
    np.testing.assert_array_equal(net.blobs["b"].diff, -net.blobs["a"].diff)


def test_similarities_are_truncated(make_net) -> None:
    net = loss_net(make_net)
    loss = net.forward(a=np.full((4, 2), 3), b=np.zeros((4, 2)), s=np.array([0.9, -0.9, 1.5, -1]))["loss"]
    assert loss == pytest.approx((0 + 0 + 18 + 18) / 8)


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"b": "dim: 3 dim: 2"}, "(4, 2) and (3, 2) differ in their first axis"),
        ({"b": "dim: 4 dim: 3"}, "(4, 2) and (4, 3) have 2 and 3 values for each sample"),
        ({"similar": "dim: 4 dim: 2"}, "make 4 pairs, and the similarities (4, 2) are 8"),
    ],
)
def test_bottoms_that_do_not_fit(make_net, shapes, what) -> None:
    with pytest.raises(LayerError) as error:
        loss_net(make_net, **shapes)
    assert what in str(error.value)
