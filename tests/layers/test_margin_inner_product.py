from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom, labels
from .gradient import make_net as make_layer_net

ANGLES = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}


def net_of(engine, param, x=None, classes=4, tops=1, **kw):
    bottoms = [x or Bottom((12, 2, 1)), labels(4, 12)]
    layer = f'type: "MarginInnerProduct" margin_inner_product_param {{ num_output: {classes} {param} }}'
    return make_layer_net(layer, bottoms, tops, engine=engine, **kw)


def psi(c: float, m: int) -> float:
    """Return the cosine of m angles, made to fall all the way from 0 to pi."""
    theta = np.arccos(c)
    j = min(m - 1, int(theta * m / np.pi))
    return (-1) ** j * np.cos(m * theta) - 2 * j


@pytest.mark.parametrize("kind", ANGLES)
def test_scores_and_gradients(kind, engine) -> None:
    net = net_of(engine, f"type: {kind} base: 3 gamma: 0.5 power: 2 iteration: 1", tops=2)
    (weight,) = net.params["under_test"]
    weight.data[...] = np.random.default_rng(1).standard_normal((4, 2))
    w = weight.data / np.linalg.norm(weight.data, axis=1, keepdims=True)
    net.forward()
    net.blobs["y0"].diff[...] = dy = np.random.default_rng(0).standard_normal((12, 4))
    net.backward()
    x = net.blobs["x0"].data.reshape(12, 2)
    factor = 3 / (1 + 0.5 * 2) ** 2
    assert net.blobs["y1"].data == pytest.approx(factor)
    np.testing.assert_allclose(weight.data, w, rtol=1e-12)
    np.testing.assert_allclose(weight.diff, dy.T @ x, rtol=1e-9)
    scores, dx = x @ w.T, dy @ w
    for n, label in enumerate(np.arange(12)[:0] if kind == "SINGLE" else net.blobs["x1"].data.astype(int)):
        length, m = np.linalg.norm(x[n]), ANGLES[kind]
        c = scores[n, label] / length
        scores[n, label] = (length * psi(c, m) + factor * scores[n, label]) / (1 + factor)
        slope = (psi(c + 1e-6, m) - psi(c - 1e-6, m)) / 2e-6
        of_w, of_x = np.array([slope, (psi(c, m) - c * slope) / length]) / np.hypot(
            slope, (psi(c, m) - c * slope) / length
        )
        margin = of_w * w[label] + of_x * x[n]
        dx[n] += dy[n, label] / (1 + factor) * (margin - w[label])
    np.testing.assert_allclose(net.blobs["y0"].data, scores, rtol=1e-9)
    np.testing.assert_allclose(net.blobs["x0"].diff.reshape(12, 2), dx, rtol=1e-5, atol=1e-6)


def test_lambda_falls_to_its_least_and_goes_on_where_it_stopped(engine) -> None:
    param = "base: 8 gamma: 1 lambda_min: 2"
    net = net_of(engine, param, tops=2)
    seen = []
    for _ in range(2):
        net.forward()
        seen.append(float(net.blobs["y1"].data[0]))
    resumed = net_of(engine, param, tops=2)
    resumed.restore_state(net.state())
    for _ in range(2):
        resumed.forward()
        seen.append(float(resumed.blobs["y1"].data[0]))
    assert seen == pytest.approx([4, 8 / 3, 2, 2])


def test_weights_stay_as_they_are_in_test(engine) -> None:
    net = net_of(engine, "", phase=TEST)
    before = net.params["under_test"][0].data.copy()
    net.forward()
    np.testing.assert_array_equal(net.params["under_test"][0].data, before)
    w = before / np.linalg.norm(before, axis=1, keepdims=True)
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data.reshape(12, 2) @ w.T)


def test_a_vector_of_zeros(engine) -> None:
    net = net_of(engine, "type: QUADRUPLE", Bottom((12, 2, 1), lambda rng: np.zeros((12, 2, 1))))
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["y0"].data, 0, atol=1e-30)
    assert np.isfinite(net.blobs["x0"].diff).all()


@pytest.mark.parametrize(
    ("classes", "x", "what"),
    [
        (0, None, "num_output is 0"),
        (3, None, "is none of the classes 0 to 2"),
        (4, Bottom((11, 2)), "the bottom (11, 2) needs 11 labels, and the labels (12,) are 12"),
    ],
)
def test_what_is_refused(classes, x, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, "", x, classes).forward()
    assert what in str(error.value)
