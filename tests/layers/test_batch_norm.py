from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError
from caffe_lite.layers.batch_norm import LEARNED, OLDER_ORDER, STATISTICS

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
        f'layer "under_test" (BatchNorm): {message}, but it is not learned: it is a running statistic. '
        "Write lr_mult: 0 in its param, or leave all params out."
    )


def test_the_channels_may_not_change(engine) -> None:
    net = batch_norm("", (4, 3, 2, 2), engine)
    net.blobs["x0"].reshape(4, 2, 2, 2)
    with pytest.raises(LayerError, match=r"shape \(4, 2, 2, 2\) has 2 channels, the statistics have 3"):
        net.forward()


FIVE = {
    "intel": ("filler { value: 2 } bias_filler { value: 3 }", ""),
    "newest": ("scale_filler { value: 2 } bias_filler { value: 3 }", ""),
    "older": (
        "scale_filler { value: 2 } bias_filler { value: 3 }",
        "param { lr_mult: 1 } param { lr_mult: 1 }" + " param { lr_mult: 0 }" * 3,
    ),
}


def five_blobs(form: str, engine: str, phase: int = TRAIN, shape=(4, 3, 2, 5)):
    params, more = FIVE[form]
    net = batch_norm(f"moving_average_fraction: 0.75 eps: 1e-4 {params}", shape, engine, phase, more)
    order = OLDER_ORDER if form == "older" else (*STATISTICS, *LEARNED)
    return net, dict(zip(order, statistics(net), strict=True))


@pytest.mark.parametrize("form", FIVE)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_scale_and_shift_as_torch_has_them(engine, form, phase) -> None:
    torch = pytest.importorskip("torch")
    net, blobs = five_blobs(form, engine, phase)
    rng = np.random.default_rng(1)
    for name, array in blobs.items():
        array[...] = 1 if name == "weight" else rng.uniform(0.5, 2, array.shape)
    x, dy = (rng.normal(1, 2, (4, 3, 2, 5)) for _ in range(2))
    net.blobs["x0"].data[...], net.blobs["y0"].diff[...] = x, dy
    given, scale, shift = (torch.tensor(a, requires_grad=True) for a in (x, blobs["scale"], blobs["shift"]))
    running = [torch.tensor(blobs[name].copy().ravel()) for name in ("mean", "variance")]
    y = torch.nn.functional.batch_norm(given, *running, scale.ravel(), shift.ravel(), phase == TRAIN, 0.25, 1e-4)
    y.backward(torch.tensor(dy))
    net.forward()
    net.backward()
    np.testing.assert_allclose(net.blobs["y0"].data, y.detach(), rtol=1e-9)
    np.testing.assert_allclose(net.blobs["x0"].diff, given.grad, rtol=1e-7, atol=1e-9)
    diffs = {tuple(blob.data.ravel()): blob.diff for blob in net.params["under_test"]}
    for parameter in (scale, shift):
        got = diffs[tuple(parameter.detach().numpy().ravel())]
        np.testing.assert_allclose(got, parameter.grad.reshape(got.shape), rtol=1e-9)


@pytest.mark.parametrize("form", ["newest", "older"])
def test_averages_of_nvidia(engine, form) -> None:
    net, blobs = five_blobs(form, engine)
    for name in STATISTICS:
        blobs[name][...] = 0
    rng, mean, variance = np.random.default_rng(2), None, None
    for _ in range(3):
        x = rng.normal(1, 2, (4, 3, 2, 5))
        net.blobs["x0"].data[...] = x
        net.forward()
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
        mean, variance = (m, v) if mean is None else (0.75 * mean + 0.25 * m, 0.75 * variance + 0.25 * v)
    np.testing.assert_allclose(blobs["mean"].ravel(), mean, rtol=1e-12)
    np.testing.assert_allclose(blobs["variance"].ravel(), variance, rtol=1e-12)
    np.testing.assert_array_equal(blobs["weight"].ravel(), [0])


@pytest.mark.parametrize(
    ("form", "values"), [("intel", (0, 0, 0, 2, 3)), ("newest", (0, 0, 1, 2, 3)), ("older", (2, 3, 0, 0, 0))]
)
def test_first_values(make_net, form, values) -> None:
    params, more = FIVE[form]
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } '
        f'layer {{ name: "y" type: "BatchNorm" bottom: "x" top: "y" {more} batch_norm_param {{ {params} }} }}'
    )
    for blob, value in zip(net.params["y"], values, strict=True):
        np.testing.assert_array_equal(blob.data, np.full(blob.shape, value))


def test_intel_keeps_sums_and_may_lack_a_shift(engine) -> None:
    net = batch_norm("filler { value: 2 } bias_term: false", (4, 3, 2, 2), engine)
    assert [blob.shape for blob in statistics(net)] == [(3,), (3,), (1,), (3,)]
    for blob, value in zip(statistics(net), (0, 0, 0, 2), strict=True):
        blob[...] = value
    net.forward()
    x = net.blobs["x0"].data
    np.testing.assert_allclose(statistics(net)[1], x.var((0, 2, 3), ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(statistics(net)[2], [1])
    expected = 2 * (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(net.blobs["y0"].data, expected, rtol=1e-9)


@pytest.mark.parametrize("written", ["newest", "older"])
@pytest.mark.parametrize("read", ["newest", "older"])
@pytest.mark.parametrize("channels", [3, 1])
def test_weights_of_either_order(tmp_path, written, read, channels) -> None:
    nets = [five_blobs(form, "numpy", shape=(2, channels, 2, 2)) for form in (written, read)]
    for number, array in enumerate(nets[0][1].values()):
        array[...] = number + np.arange(array.size).reshape(array.shape)
    nets[0][1]["weight"][...] = 1
    nets[0][0].save(str(tmp_path / "weights.caffemodel"))
    nets[1][0].copy_from(str(tmp_path / "weights.caffemodel"))
    for name in ("mean", "variance", "scale", "shift"):
        np.testing.assert_array_equal(nets[1][1][name].ravel(), nets[0][1][name].ravel())


def test_sums_in_an_older_file_become_averages(tmp_path) -> None:
    net, blobs = five_blobs("older", "numpy")
    blobs["weight"][...], blobs["mean"][...], blobs["variance"][...] = 4, 8, 12
    net.save(str(tmp_path / "sums.caffemodel"))
    net.copy_from(str(tmp_path / "sums.caffemodel"))
    assert [blobs[name].ravel()[0] for name in STATISTICS] == [2, 3, 1]


def test_nvidia_learns_at_the_rate_of_the_solver(caplog) -> None:
    more = "param { lr_mult: 0 } " * 3 + "param { lr_mult: 2 decay_mult: 0 }"
    with caplog.at_level("WARNING"):
        net = batch_norm("scale_bias: true", (4, 3, 2, 2), "numpy", more=more)
    assert [(p.lr_mult, p.decay_mult) for p in net.learnable_params[3:]] == [(1, 1), (1, 1)]
    assert [record.getMessage() for record in caplog.records] == [
        "under_test: blob 3 has an lr_mult and a decay_mult of 1, as in NVIDIA's Caffe, whatever its param says"
    ]
