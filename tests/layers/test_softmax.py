from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]


def softmax_net(make_net: MakeNet, shape: tuple[int, ...], param: str = "") -> Net:
    dims = " ".join(f"dim: {n}" for n in shape)
    return make_net(
        f"""force_backward: true
        layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
        layer {{ name: "prob" type: "Softmax" bottom: "x" top: "prob" {param} }}"""
    )


def test_one_two_three(make_net: MakeNet) -> None:
    net = softmax_net(make_net, (1, 3))
    net.blobs["x"].data[...] = [1, 2, 3]
    assert net.forward()["prob"][0] == pytest.approx([0.0900, 0.2447, 0.6652], abs=5e-5)


@pytest.mark.parametrize("offset", [0, 1e4, -1e4])
def test_no_score_is_too_large(make_net: MakeNet, offset: float) -> None:
    net = softmax_net(make_net, (2, 3))
    net.blobs["x"].data[...] = np.array([[1, 2, 3], [-1e4, 0, 1e4]]) + offset
    y = net.forward()["prob"]
    assert y[0] == pytest.approx([0.0900, 0.2447, 0.6652], abs=5e-5)
    assert y[1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -3, -4])
def test_any_axis(make_net: MakeNet, axis: int) -> None:
    net = softmax_net(make_net, (2, 3, 4, 5), f"softmax_param {{ axis: {axis} }}")
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 3, 4, 5))
    net.blobs["x"].data[...] = x
    y = net.forward()["prob"]
    e = np.exp(x)
    np.testing.assert_allclose(y, e / e.sum(axis, keepdims=True), rtol=1e-5)
    net.blobs["prob"].diff[...] = dy
    net.backward()
    # The Jacobian, diag(y) - y y^T, written out along that axis.
    rows, weights = (np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (y, dy))
    expected = [(np.diag(row) - np.outer(row, row)) @ w for row, w in zip(rows, weights, strict=True)]
    got = np.moveaxis(net.blobs["x"].diff, axis, -1).reshape(-1, x.shape[axis])
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_axis_that_is_not_there(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"axis 2 is out of range.*Use -2 to 1"):
        softmax_net(make_net, (2, 3), "softmax_param { axis: 2 }")
