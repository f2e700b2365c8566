import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


def noise(engine, param, phase=TRAIN):
    layer = f'type: "Noise" noise_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom((300, 40))], engine=engine, phase=phase)
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    return net.blobs["x0"].data, net.blobs["y0"].data, net.blobs["x0"].diff


def test_normal_noise_is_as_large_as_the_data(engine) -> None:
    x, y, gradient = noise(engine, "gaussian_std: 0.5 bias: 3")
    added = y - x
    size = 0.5 * np.sqrt(np.mean(x * x))
    assert abs(added.mean() - 3) < 0.05 * size and abs(added.std() / size - 1) < 0.05
    assert abs(np.mean(abs(added - 3) < size) - 0.683) < 0.02
    assert np.all(gradient == 1)


def test_uniform_noise(engine) -> None:
    x, y, gradient = noise(engine, "uniform_range: 0.5 bias: 3")
    assert 2.5 <= (y - x).min() < 2.51 and 3.49 < (y - x).max() <= 3.5
    assert np.all(gradient == 1)


def test_samples_are_scaled(engine) -> None:
    x, y, gradient = noise(engine, "mu: 2 sigma: 0.5")
    np.testing.assert_allclose(y, x * gradient)
    np.testing.assert_array_equal(gradient, np.broadcast_to(gradient[:, :1], x.shape))
    assert abs(gradient[:, 0].mean() - 2) < 0.15 and abs(gradient[:, 0].std() - 0.5) < 0.1


@pytest.mark.parametrize(("param", "factor"), [("gaussian_std: 1", 1), ("", 0)])
def test_in_test_one_passes_and_the_other_is_silent(engine, param, factor) -> None:
    x, y, gradient = noise(engine, param, TEST)
    np.testing.assert_array_equal(y, x * factor)
    assert np.all(gradient == factor)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("gaussian_std: 1 sigma: 2", "both gaussian_std and sigma"),
        ("bias: 1", "a bias, and neither"),
        ("uniform_range: -1", "uniform_range is -1"),
        ("sigma: -1", "sigma is -1"),
        ("hist_eq: true", "it does not read hist_eq"),
    ],
)
def test_what_is_refused(engine, param, what) -> None:
    with pytest.raises(LayerError, match=what):
        noise(engine, param)
