from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net


def batch_norm(params: str, shape: tuple[int, ...], engine: str, phase: int = TRAIN, more: str = "", chain=None):
    layer = f'type: "BatchNorm" {more} batch_norm_param {{ {params} }}'
    return make_net(layer, [Bottom(shape)], engine=engine, phase=phase, chain=chain)


def statistics(net) -> list[np.ndarray]:
    return [blob.data for blob in net.params["under_test"]]


def axes(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (6, 3), (2, 3, 4), (2, 2, 2, 2, 2)])
def test_a_batch_gets_mean_0_and_variance_1(engine, shape) -> None:
    net = batch_norm("eps: 1e-7", shape, engine)
    net.blobs["x0"].data[...] = 3 + 5 * net.blobs["x0"].data
    net.forward()
    y = net.blobs["y0"].data
    np.testing.assert_allclose(y.mean(axes(y)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axes(y)), 1, atol=1e-6)
    check(net)


def test_statistics_over_several_iterations(engine) -> None:
    net = batch_norm("moving_average_fraction: 0.75", (4, 3, 2, 2), engine)
    for blob in statistics(net):
        blob[...] = 0
    rng = np.random.default_rng(3)
    mean, variance, weight = np.zeros(3), np.zeros(3), 0.0
    for _ in range(4):
        x = rng.normal(size=(4, 3, 2, 2))
        net.blobs["x0"].data[...] = x
        net.forward()
        mean = 0.75 * mean + x.mean((0, 2, 3))
        variance = 0.75 * variance + x.var((0, 2, 3), ddof=1)
        weight = 0.75 * weight + 1
    for got, expected in zip(statistics(net), (mean, variance, [weight]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    test_net = batch_norm("", (4, 3, 2, 2), engine, TEST)
    test_net.share_with(net)
    test_net.blobs["x0"].data[...] = x
    test_net.forward()
    expected = (x - (mean / weight)[:, None, None]) / np.sqrt((variance / weight)[:, None, None] + 1e-5)
    np.testing.assert_allclose(test_net.blobs["y0"].data, expected, rtol=1e-9)


def test_statistics_are_updated_in_place(engine) -> None:
    net = batch_norm("", (4, 3, 2, 2), engine)
    views = statistics(net)
    before = [view.copy() for view in views]
    net.forward()
    for view, old, now in zip(views, before, statistics(net), strict=True):
        assert (view != old).all()
        np.testing.assert_array_equal(view, now)


def test_one_element_per_channel_has_variance_0(engine) -> None:
    net = batch_norm("", (1, 3), engine)
    for blob in statistics(net):
        blob[...] = 0
    net.forward()
    assert not net.blobs["y0"].data.any()
    np.testing.assert_array_equal(statistics(net)[1], 0)


def test_without_statistics_mean_and_variance_are_0(engine) -> None:
    net = batch_norm("eps: 0.25", (2, 3, 2, 2), engine, TEST)
    mean, variance, weight = statistics(net)
    mean[...], variance[...], weight[...] = 5, 7, 0
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data, net.blobs["x0"].data / 0.5)


@pytest.mark.parametrize(
    ("params", "phase", "from_batch"),
    [
        ("", TRAIN, True),
        ("", TEST, False),
        ("use_global_stats: true", TRAIN, False),
        ("use_global_stats: false", TEST, True),
    ],
)
def test_which_statistics_serve(engine, params, phase, from_batch) -> None:
    net = batch_norm(params, (4, 3, 2, 2), engine, phase)
    before = [blob.copy() for blob in statistics(net)]
    net.forward()
    y = net.blobs["y0"].data
    assert np.allclose(y.mean((0, 2, 3)), 0, atol=1e-9) == from_batch
    for old, now in zip(before, statistics(net), strict=True):
        assert (old != now).all() == from_batch
    check(net)


@pytest.mark.parametrize("params", ["use_global_stats: true", "use_global_stats: false"])
def test_gradients_in_place(engine, params) -> None:
    apart, in_place = (batch_norm(params, (4, 3, 2, 2), engine, chain=chain) for chain in ("apart", "in place"))
    for net in (apart, in_place):
        net.forward()
        last = net.blobs[net.outputs[0]]
        last.diff[...] = np.linspace(-1, 1, last.count).reshape(last.shape)
        net.backward()
    assert apart.blobs["x0"].diff.any()
    np.testing.assert_allclose(in_place.blobs["x0"].diff, apart.blobs["x0"].diff, rtol=1e-12)


def test_a_batch_without_channels(engine) -> None:
    net, pairs = (batch_norm("", shape, engine) for shape in ((6,), (6, 1)))
    pairs.blobs["x0"].data[...] = net.blobs["x0"].data[:, None]
    for n in (net, pairs):
        n.forward()
    assert [blob.shape for blob in net.params["under_test"]] == [(1,), (1,), (1,)]
    np.testing.assert_allclose(net.blobs["y0"].data, pairs.blobs["y0"].data[:, 0])
    check(net)


@pytest.mark.parametrize("more", ["", "param { lr_mult: 0 }", "param { lr_mult: 0 } " * 3])
def test_statistics_are_not_learned(engine, more) -> None:
    net = batch_norm("", (4, 3, 2, 2), engine, more=more)
    assert [param.lr_mult for param in net.learnable_params] == [0, 0, 0]
    net.forward()
    net.blobs["y0"].diff[...] = net.blobs["x0"].data
    net.backward()
    assert not any(blob.diff.any() for blob in net.params["under_test"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("param { lr_mult: 0 } param { lr_mult: 2 }", "the lr_mult of blob 1 is 2"),
        ('param { name: "shared" }', "the lr_mult of blob 0 is 1"),
    ],
)
def test_statistics_cannot_be_learned(engine, more, message) -> None:
    with pytest.raises(LayerError) as caught:
        batch_norm("", (4, 3, 2, 2), engine, more=more)
    assert str(caught.value) == (
        f'layer "under_test" (BatchNorm): {message}, but its blobs are not learned: they are running statistics. '
        "Write lr_mult: 0 in each param, or leave them out."
    )


def test_the_channels_may_not_change(engine) -> None:
    net = batch_norm("", (4, 3, 2, 2), engine)
    net.blobs["x0"].reshape(4, 2, 2, 2)
    with pytest.raises(LayerError, match=r"shape \(4, 2, 2, 2\) has 2 channels, the statistics have 3"):
        net.forward()
