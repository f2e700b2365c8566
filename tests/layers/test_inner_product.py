from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

X = Bottom((4, 2, 3))


def net_of(engine, param, *more, **kw):
    return make_layer_net(f'type: "InnerProduct" inner_product_param {{ {param} }}', [X, *more], engine=engine, **kw)


@pytest.mark.parametrize("phase", [0, TEST])
@pytest.mark.parametrize("transpose", ["", "transpose: true"])
def test_weights_of_length_1(transpose, phase, engine) -> None:
    net = net_of(engine, f"num_output: 5 normalize: true {transpose}", phase=phase)
    weight, bias = net.params["under_test"]
    before = weight.data.copy()
    net.forward()
    net.blobs["y0"].diff[...] = dy = np.random.default_rng(0).standard_normal((4, 5))
    net.backward()
    w, x = before.T if transpose else before, net.blobs["x0"].data.reshape(4, 6)
    w = w / np.sqrt((w**2).sum(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(net.blobs["y0"].data, x @ w.T + bias.data, rtol=1e-12)
    np.testing.assert_allclose(net.blobs["x0"].diff.reshape(4, 6), dy @ w, rtol=1e-9)
    np.testing.assert_allclose(weight.diff, x.T @ dy if transpose else dy.T @ x, rtol=1e-9)
    np.testing.assert_allclose(weight.data, before if phase == TEST else w.T if transpose else w, rtol=1e-12)


@pytest.mark.parametrize("bottoms", [2, 3])
@pytest.mark.parametrize("transpose", ["", "transpose: true"])
def test_weights_from_a_bottom(transpose, bottoms, engine) -> None:
    more = [Bottom((6, 5) if transpose else (5, 6, 1)), Bottom((5, 1))][: bottoms - 1]
    net = net_of(engine, f"num_output: 99 {transpose}", *more)
    bias = net.blobs["x2"] if bottoms > 2 else net.params["under_test"][0]
    net.forward()
    net.blobs["y0"].diff[...] = dy = np.random.default_rng(0).standard_normal((4, 5))
    net.backward()
    w, x = net.blobs["x1"].data.reshape((6, 5) if transpose else (5, 6)), net.blobs["x0"].data.reshape(4, 6)
    np.testing.assert_allclose(net.blobs["y0"].data, x @ (w if transpose else w.T) + bias.data.ravel(), rtol=1e-12)
    dw = x.T @ dy if transpose else dy.T @ x
    np.testing.assert_allclose(net.blobs["x1"].diff.ravel(), dw.ravel(), rtol=1e-9)
    np.testing.assert_allclose(bias.diff.ravel(), dy.sum(0), rtol=1e-9)
    assert len(net.params.get("under_test", [])) == 3 - bottoms


def test_weights_and_no_biases(engine) -> None:
    net = net_of(engine, "bias_term: false", Bottom((5, 6)))
    assert "under_test" not in net.params
    net.blobs["x1"].reshape(7, 6)  # as many outputs as the weights make
    net.forward()
    assert net.blobs["y0"].shape == (4, 7)


@pytest.mark.parametrize(
    ("param", "more", "what"),
    [
        ("", [], "num_output is 0"),
        ("", [Bottom((5, 7))], "the weights (5, 7) make 5 outputs of 7 inputs, the bottom has 6"),
        ("", [Bottom((0, 6))], "give weights (outputs, inputs), at least one output"),
        ("transpose: true", [Bottom((5, 6))], "Give weights (inputs, outputs)"),
        ("", [Bottom((5, 6)), Bottom((4,))], "the weights (5, 6) make 5 outputs of 4 biases"),
        ("bias_term: false", [Bottom((5, 6)), Bottom((5,))], "bias_term is false, and a third bottom is given"),
    ],
)
def test_what_is_refused(param, more, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, *more)
    assert what.lower() in str(error.value).lower()
