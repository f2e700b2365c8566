from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest

from caffe_lite import Net

MakeNet = Callable[..., Net]


def loss_net(make_net: MakeNet, prob: tuple[int, ...], labels: tuple[int, ...], layer: str = "") -> Net:
    text = "force_backward: true\n"
    for name, shape in (("prob", prob), ("label", labels)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    text += 'layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "prob" bottom: "label" top: "loss"'
    return make_net(f"{text} {layer} }}")


@pytest.mark.parametrize(("label", "p"), [(0, 0.6), (1, 0.1), (2, 0.3)])
def test_minus_the_logarithm(make_net: MakeNet, label: int, p: float) -> None:
    net = loss_net(make_net, (1, 3), (1,), "loss_weight: 2")
    net.blobs["prob"].data[...] = [0.6, 0.1, 0.3]
    net.blobs["label"].data[...] = label
    assert float(net.forward()["loss"]) == pytest.approx(-log(p), rel=1e-6)
    net.backward()
    assert net.blobs["prob"].diff[0] == pytest.approx([-2 / p if i == label else 0 for i in range(3)], rel=1e-6)


@pytest.mark.parametrize(("shape", "labels"), [((3, 4), (3,)), ((3, 2, 1, 2), (3, 1, 1, 1)), ((3, 4, 1, 1), (3, 1))])
def test_the_mean_over_samples(make_net: MakeNet, shape: tuple[int, ...], labels: tuple[int, ...]) -> None:
    net = loss_net(make_net, shape, labels)
    p = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4))
    net.blobs["prob"].data[...] = p.reshape(shape)
    net.blobs["label"].data[...] = np.array([3, 0, 2]).reshape(labels)
    assert float(net.forward()["loss"]) == pytest.approx(-(log(p[0, 3]) + log(p[1, 0]) + log(p[2, 2])) / 3, rel=1e-6)
    net.backward()
    expected = np.zeros((3, 4))
    for n, c in enumerate([3, 0, 2]):
        expected[n, c] = -1 / (3 * p[n, c])
    np.testing.assert_allclose(net.blobs["prob"].diff.reshape(3, 4), expected, rtol=1e-5)


def test_a_probability_of_zero_counts_as_1e_20(make_net: MakeNet) -> None:
    net = loss_net(make_net, (2, 2), (2,))
    net.blobs["prob"].data[...] = [[0, 1], [0, 1]]
    net.blobs["label"].data[...] = [0, 1]
    assert float(net.forward()["loss"]) == pytest.approx(-log(1e-20) / 2, rel=1e-6)
    net.backward()
    assert net.blobs["prob"].diff == pytest.approx(np.array([[-0.5e20, 0], [0, -0.5]]), rel=1e-6)
