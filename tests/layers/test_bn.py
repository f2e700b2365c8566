from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError, WeightsError

from .gradient import Bottom, make_net

SHAPE = (4, 3, 2, 5)
FILLED = 'slope_filler { type: "constant" value: 2 } bias_filler { type: "constant" value: 1 }'


def bn(param: str, engine: str, phase: int = TRAIN, shape=SHAPE, tops: int = 1):
    net = make_net(f'type: "BN" {param}', [Bottom(shape)], tops, engine=engine, phase=phase, dtype="float32")
    net.blobs["x0"].data[...] = 3 + 2 * net.blobs["x0"].data
    return net


def params(net) -> list[np.ndarray]:
    return [blob.data.ravel().astype(float) for blob in net.params["under_test"]]


def channels(x: np.ndarray) -> np.ndarray:
    """Return the values of each channel in a row of its own."""
    return np.moveaxis(x.astype(float), 1, 0).reshape(x.shape[1], -1)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("shape", [SHAPE, (6, 3)])
def test_segnet_takes_the_statistics_of_the_batch_in_both_phases(phase, shape, engine) -> None:
    net = bn("", engine, phase, shape, tops=3)
    assert [blob.shape for blob in net.params["under_test"]] == [(1, 3, 1, 1)] * 2
    net.forward()
    x, (scale, shift) = channels(net.blobs["x0"].data), params(net)
    np.testing.assert_allclose(net.blobs["y1"].data, x.mean(1).reshape(1, 3, 1, 1), rtol=1e-5)
    np.testing.assert_allclose(net.blobs["y2"].data, x.var(1).reshape(1, 3, 1, 1), rtol=1e-5)
    for c in range(3):
        wanted = (x[c] - x[c].mean()) / np.sqrt(x[c].var() + 1e-9) * scale[c] + shift[c]
        np.testing.assert_allclose(channels(net.blobs["y0"].data)[c], wanted, rtol=1e-4, atol=1e-5)


def test_segnet_inference_scales_and_shifts(engine) -> None:
    net = bn("bn_param { bn_mode: INFERENCE }", engine)
    net.forward()
    scale, shift = params(net)
    wanted = channels(net.blobs["x0"].data) * scale[:, None] + shift[:, None]
    np.testing.assert_allclose(channels(net.blobs["y0"].data), wanted, rtol=1e-5)


def test_running_statistics(engine) -> None:
    """The batch's in TRAIN, with the variance divided by the number of elements; the running ones in TEST."""
    net = bn("bn_param { momentum: 0.8 eps: 0.5 }", engine)
    assert [blob.shape for blob in net.params["under_test"]] == [(1, 3)] * 4
    slope, bias, mean, variance = params(net)
    rng = np.random.default_rng(1)
    for _ in range(3):
        net.blobs["x0"].data[...] = rng.normal(1, 2, SHAPE)
        net.forward()
        x = channels(net.blobs["x0"].data)
        normal = (x - x.mean(1)[:, None]) / np.sqrt(x.var(1) + 0.5)[:, None]
        wanted = normal * slope[:, None] + bias[:, None]
        np.testing.assert_allclose(channels(net.blobs["y0"].data), wanted, rtol=1e-4, atol=1e-5)
        mean, variance = 0.8 * mean + 0.2 * x.mean(1), 0.8 * variance + 0.2 * x.var(1)
    np.testing.assert_allclose(params(net)[2], mean, rtol=1e-5)
    np.testing.assert_allclose(params(net)[3], variance, rtol=1e-5)
    for phase, frozen in [(TEST, "false"), (TRAIN, "true")]:
        other = bn(f"bn_param {{ eps: 0.5 frozen: {frozen} }}", engine, phase)
        other.share_with(net)
        other.forward()
        x = channels(other.blobs["x0"].data)
        wanted = (x - mean[:, None]) / np.sqrt(variance + 0.5)[:, None] * slope[:, None] + bias[:, None]
        np.testing.assert_allclose(channels(other.blobs["y0"].data), wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(params(other)[2], mean, rtol=1e-5)


NET = 'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }} {}'
BN = 'layer {{ name: "b" type: "BN" bottom: "x" top: "y" {} }}'


@pytest.mark.parametrize(
    ("param", "values"),
    [
        ("", [0, 0]),
        ("param { } param { } param { }", [0, 0, 0, 0]),
        (f"bn_param {{ {FILLED} }}", [2, 1, 0, 0]),
        ("bn_param { frozen: true }", [0, 0, 0, 1]),
        ("bn_param { engine: CAFFE }", [0, 0, 0, 0]),
        ("param { } param { } bn_param { bn_mode: LEARN }", [0, 0]),
    ],
)
def test_which_layer_it_is(param, values, make_net) -> None:
    net = make_net(NET.format(BN.format(param)))
    assert [blob.data.max() for blob in net.params["b"]] == values


def test_running_statistics_are_not_learned(make_net) -> None:
    for frozen, learned in [("false", [1, 1, 0, 0]), ("true", [0, 0, 0, 0])]:
        (node,) = (
            n for n in make_net(NET.format(BN.format(f"bn_param {{ frozen: {frozen} }}"))).nodes if n.name == "b"
        )
        assert [param.lr_mult for param in node.layer.param.param] == learned


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1, 1)])
def test_weights_of_every_fork_load(shape, make_net, tmp_path) -> None:
    net = make_net(NET.format(BN.format("bn_param { frozen: true }")))
    stored = [np.full(shape, i + 1, np.float32) for i in range(4)]
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for i, array in enumerate(stored):
            file[f"data/b/{i}"] = array
    net.copy_from(str(tmp_path / "w.h5"))
    assert [blob.data.tolist() for blob in net.params["b"]] == [[[i + 1.0] * 3] for i in range(4)]


def test_weights_of_the_other_layer_are_refused(make_net, tmp_path) -> None:
    segnet, averages = (make_net(NET.format(BN.format(param))) for param in ("", "bn_param { eps: 0.1 }"))
    averages.save(str(tmp_path / "four.caffemodel"))
    segnet.save(str(tmp_path / "two.caffemodel"))
    with pytest.raises(LayerError, match=r"the 4 blobs of yjxiong's BN .* SegNet's, with 2.*frozen: false"):
        segnet.copy_from(str(tmp_path / "four.caffemodel"))
    with pytest.raises(WeightsError, match="holds 2 blobs for this layer, the net has 4"):
        averages.copy_from(str(tmp_path / "two.caffemodel"))


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("bn_param { bn_mode: LEARN momentum: 0.5 }", "has bn_mode, of SegNet's BN, and momentum, of yjxiong's"),
        ('top: "mean" bn_param { eps: 0.1 }', "yjxiong's BN has no tops of mean and variance"),
        ('top: "mean" bn_param { bn_mode: INFERENCE }', "BN with bn_mode INFERENCE has no tops"),
    ],
)
def test_errors(param, message, make_net) -> None:
    with pytest.raises(LayerError, match=message):
        make_net(NET.format(BN.format(param)))


def test_other_channels_are_refused(engine) -> None:
    net = bn("", engine)
    net.blobs["x0"].reshape(2, 2, 4, 4)
    with pytest.raises(LayerError, match=r"shape \(2, 2, 4, 4\) has 2 channels"):
        net.forward()
