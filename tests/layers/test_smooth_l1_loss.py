from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]

SHAPE = (2, 4, 3, 2)


def loss_net(
    make_net: MakeNet, layer: str = "", bottoms: int = 2, tops: int = 1, shapes=None, kind: str = "SmoothL1Loss", **kw
):
    text = "force_backward: true\n"
    for i, shape in enumerate(shapes or [SHAPE] * bottoms):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    ends = "".join(f' bottom: "x{i}"' for i in range(bottoms)) + "".join(f' top: "y{i}"' for i in range(tops))
    return make_net(f'{text} layer {{ name: "loss" type: "{kind}" {ends} {layer} }}', **kw)


def by_hand(values: list[np.ndarray], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each element and its derivative in the first bottom."""
    a, b, w, v = (*values, *[np.ones(values[0].shape)] * 2)[:4]
    losses, slopes = np.zeros(a.shape), np.zeros(a.shape)
    for i in np.ndindex(*a.shape):
        d = w[i] * (a[i] - b[i])
        if abs(d) < 1 / sigma**2:
            losses[i], slopes[i] = v[i] * (sigma * d) ** 2 / 2, v[i] * w[i] * sigma**2 * d
        else:
            losses[i], slopes[i] = v[i] * (abs(d) - 0.5 / sigma**2), v[i] * w[i] * np.sign(d)
    return losses, slopes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tops", [1, 2])
@pytest.mark.parametrize("sigma", [None, 3, 0.5])
@pytest.mark.parametrize("bottoms", [2, 3, 4])
def test_element_by_element(make_net: MakeNet, bottoms: int, sigma: float | None, tops: int, dtype: str) -> None:
    param = f"smooth_l1_loss_param {{ sigma: {sigma} }}" if sigma else ""
    net = loss_net(make_net, param, bottoms, tops, dtype=dtype)
    rng = np.random.default_rng(bottoms)
    values = [rng.standard_normal(SHAPE) * 2 for _ in range(bottoms)]
    net.forward(**{f"x{i}": value for i, value in enumerate(values)})
    net.backward()
    losses, slopes = by_hand(values, sigma or 1)
    accuracy = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10}
    np.testing.assert_allclose(net.blobs["y0"].data, losses.sum() / 2, **accuracy)
    np.testing.assert_allclose(net.blobs["x0"].diff, slopes / 2, **accuracy)
    np.testing.assert_array_equal(net.blobs["x1"].diff, -net.blobs["x0"].diff)
    assert not any(net.blobs[f"x{i}"].diff.any() for i in range(2, bottoms))
    if tops > 1:
        np.testing.assert_allclose(net.blobs["y1"].data, losses.sum(1, keepdims=True), **accuracy)


@pytest.mark.parametrize(
    ("normalization", "divisor"),
    [
        ("", 12),
        ("normalize: true", 12),
        ("normalize: false", 2),
        ("normalization: VALID", 12),
        ("normalization: FULL", 12),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 128", 128),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 0.25", 1),
        ("normalization: PRE_FIXED", 1),
        ("normalization: NONE", 1),
    ],
)
@pytest.mark.parametrize("bottoms", [2, 3])
def test_the_loss_of_r_fcn(make_net: MakeNet, bottoms: int, normalization: str, divisor: float) -> None:
    net = loss_net(make_net, f"loss_param {{ {normalization} }}", bottoms, 2, kind="SmoothL1LossOHEM", dtype="float64")
    rng = np.random.default_rng(bottoms)
    values = [rng.standard_normal(SHAPE) * 2 for _ in range(bottoms)]
    net.forward(**{f"x{i}": value for i, value in enumerate(values)})
    net.backward()
    losses, slopes = by_hand(values, 1)
    np.testing.assert_allclose(net.blobs["y0"].data, losses.sum() / divisor, rtol=1e-12)
    np.testing.assert_allclose(net.blobs["y1"].data, losses.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(net.blobs["x0"].diff, slopes / divisor, rtol=1e-12)


@pytest.mark.parametrize("kind", ["SmoothL1Loss", "SmoothL1LossOHEM"])
def test_the_loss_of_each_region_has_four_axes(make_net: MakeNet, kind: str) -> None:
    """So that Eltwise can add it to the losses of labels (N, 1, 1, 1)."""
    net = loss_net(make_net, shapes=[(5, 8), (5, 8, 1, 1)], tops=2, kind=kind)
    assert net.blobs["y1"].shape == (5, 1, 1, 1)


@pytest.mark.parametrize(
    ("bottoms", "param", "shapes", "what"),
    [
        (2, "smooth_l1_loss_param { abssum: true }", None, "abssum is given"),
        (2, "smooth_l1_loss_param { sigma: 0 }", None, "sigma is 0. Give a number above 0"),
        (2, "", [SHAPE, (3, 24)], r"\(2, 4, 3, 2\) and \(3, 24\) differ in their first axis"),
        (3, "", [SHAPE, SHAPE, (2, 4)], r"\(2, 4, 3, 2\) and \(2, 4\) have 24 and 4 values for each sample"),
        (4, "", [SHAPE, SHAPE, SHAPE, (2, 4)], r"\(2, 4, 3, 2\) and \(2, 4\) have 24 and 4 values for each sample"),
    ],
)
def test_refusals(make_net: MakeNet, bottoms: int, param: str, shapes, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        loss_net(make_net, param, bottoms, shapes=shapes)


def test_weights_have_no_gradient(make_net: MakeNet) -> None:
    net = loss_net(make_net, "propagate_down: true propagate_down: false propagate_down: true", 3)
    net.forward()
    net.backward()
    assert not net.blobs["x2"].diff.any()
