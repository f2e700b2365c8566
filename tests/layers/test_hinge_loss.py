from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, labels
from .gradient import make_net as make_layer_net


@settings(deadline=None, max_examples=20)
@given(
    samples=st.integers(1, 4),
    classes=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    ones=st.integers(0, 2),
    norm=st.sampled_from(["L1", "L2"]),
)
def test_any_shape(samples, classes, ones, norm, engine) -> None:
    count = int(np.prod(classes, dtype=int))
    bottoms = [Bottom((samples, *classes)), labels(count, samples, *[1] * ones)]
    net = make_layer_net(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', bottoms, engine=engine)
    check(net)
    net.forward()
    x, y = net.blobs["x0"].data.reshape(samples, count), net.blobs["x1"].data.reshape(samples).astype(int)
    total = 0.0
    for n in range(samples):
        for k in range(count):
            h = max(0.0, 1 - x[n, k] if k == y[n] else 1 + x[n, k])
            total += h if norm == "L1" else h * h
    assert float(net.blobs["y0"].data) == pytest.approx(total / samples, rel=1e-12)


def loss_net(make_net, more: str = "", label: str = "dim: 2"):
    return make_net(f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" top: "label"
                 input_param {{ shape {{ dim: 2 dim: 3 }} shape {{ {label} }} }} }}
        layer {{ name: "loss" type: "HingeLoss" bottom: "x" bottom: "label" top: "loss" {more} }}""")


def test_by_hand_and_weighted(make_net) -> None:
    net = loss_net(make_net, "loss_weight: 4")
    net.forward(x=np.array([[2, -3, 0.5], [-1, 0.25, 1]]), label=np.array([0, 1]))
    # 0, 0, 1.5; 0, 0.75, 2: a margin of exactly 0 costs nothing and has no gradient.
    assert net.blobs["loss"].data == pytest.approx(4.25 / 2)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[0, 0, 2], [0, -2, 2]])


@pytest.mark.parametrize("bad", [3, -1])
def test_a_label_that_is_no_class(make_net, bad) -> None:
    net = loss_net(make_net)
    with pytest.raises(LayerError, match=rf"label {bad} of sample 1 is none of the classes 0 to 2") as error:
        net.forward(x=np.zeros((2, 3)), label=np.array([0, bad]))
    assert "ignore_label" not in str(error.value)


def test_scores_without_classes(make_net) -> None:
    net = loss_net(make_net)
    net.blobs["x"].reshape(2, 0)
    with pytest.raises(LayerError, match=r'layer "loss" \(HingeLoss\): the scores have no classes'):
        net.forward()


def test_one_label_for_each_sample(make_net) -> None:
    with pytest.raises(LayerError, match=r"the predictions \(2, 3\) need 2 labels, and the labels \(2, 3\) are 6"):
        loss_net(make_net, label="dim: 2 dim: 3")
