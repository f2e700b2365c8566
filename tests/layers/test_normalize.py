from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

IMAGES = Bottom((2, 3, 4, 5))


def net_of(engine, param, bottom=IMAGES, tops=1, **kw):
    net = make_layer_net(f'type: "Normalize" {param}', [bottom], tops, engine=engine, **kw)
    net.forward()
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", ["", " eps: 0.5", " eps: 0.5 add_eps_before_sqrt: false"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("across", [True, False])
def test_ssd(across, shared, eps, dtype, engine) -> None:
    flags = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()}"
    net = net_of(engine, f"norm_param {{ {flags}{eps} }}", dtype=dtype)
    x, (scale,) = net.blobs["x0"].data, net.params["under_test"]
    assert scale.shape == (() if shared else (3,))
    added = 0.5 if eps else 1e-10
    wanted = np.empty(x.shape)
    for n, h, w in np.ndindex(2, 4, 5):
        vector = x[n].ravel() if across else x[n, :, h, w]
        squares = sum(float(v) ** 2 for v in vector)
        length = squares**0.5 + added if "before" in eps else (squares + added) ** 0.5
        wanted[n, :, h, w] = x[n, :, h, w] * scale.data / length
    np.testing.assert_allclose(net.blobs["y0"].data, wanted, rtol=1e-5)


@pytest.mark.parametrize("param", ["", "normalize_param { }", 'normalize_param { normalize_type: "L1" }'])
def test_happynear(param, engine) -> None:
    net = net_of(engine, param, tops=2)
    assert "under_test" not in net.params
    x = net.blobs["x0"].data
    for n, h, w in np.ndindex(2, 4, 5):
        vector = x[n, :, h, w]
        length = np.abs(vector).sum() + 1e-6 if "L1" in param else np.sqrt((vector**2).sum() + 1e-6)
        assert net.blobs["y1"].data[n, 0, h, w] == pytest.approx(length)
        np.testing.assert_allclose(net.blobs["y0"].data[n, :, h, w], vector / length)


def test_the_scale_is_1_unless_it_has_a_filler(make_net) -> None:
    text = 'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 }} }} }}'
    text += 'layer {{ name: "y" type: "Normalize" bottom: "x" top: "y" norm_param {{ {} }} }}'
    for param, scale in [("", 1), ('scale_filler { type: "constant" value: 20 } channel_shared: false', 20)]:
        net = make_net(text.format(param), TEST)
        np.testing.assert_allclose(net.forward(x=np.array([[3, 4]]))["y"], [[0.6 * scale, 0.8 * scale]], rtol=1e-6)


def test_the_length_passes_its_gradient_only_if_it_should(engine) -> None:
    for param, wanted in [("bp_norm: true", [[0.6, 0.8]]), ("", [[0, 0]])]:
        bottom = Bottom((1, 2), lambda rng: np.array([[3.0, 4.0]]))
        net = net_of(engine, f"normalize_param {{ {param} }}", bottom, tops=2)
        net.blobs["y1"].diff[...] = 1
        net.backward()
        np.testing.assert_allclose(net.blobs["x0"].diff, wanted, rtol=1e-6)


def test_a_fixed_gradient_is_not_divided_by_the_length(engine) -> None:
    gradients = []
    for param in ("", "fix_gradient: true"):
        net = net_of(engine, f"normalize_param {{ {param} }}", tops=2)
        net.blobs["y0"].diff[...] = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
        net.backward()
        gradients.append(net.blobs["x0"].diff)
    np.testing.assert_allclose(gradients[0] * net.blobs["y1"].data, gradients[1])


def test_zeros_and_a_scale_of_zero(engine) -> None:
    net = net_of(engine, "norm_param { }", Bottom((2, 3), lambda rng: np.array([[0, 0, 0], [2, 0, 0]])))
    net.params["under_test"][0].data[...] = 0
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    assert net.params["under_test"][0].diff == pytest.approx(1)
    np.testing.assert_array_equal(net.blobs["y0"].data, 0)
    assert np.isfinite(net.blobs["x0"].diff).all()


@pytest.mark.parametrize(
    ("param", "shape", "tops", "what"),
    [
        ("", (3,), 1, "the bottom's shape (3,) has 1 axes. Normalize needs 2 or more"),
        ("norm_param { }", (3, 2), 2, "norm_param is given, and SSD's layer has no second top"),
        ("norm_param { } normalize_param { }", (3, 2), 1, "it has both norm_param and normalize_param"),
        ('normalize_param { normalize_type: "max" }', (3, 2), 1, "normalize_type is 'max'"),
    ],
)
def test_what_is_refused(param, shape, tops, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, Bottom(shape), tops)
    assert what in str(error.value)


def test_another_number_of_channels(engine) -> None:
    net = net_of(engine, "norm_param { channel_shared: false }")
    net.blobs["x0"].reshape(2, 4, 4, 5)
    with pytest.raises(LayerError, match=r"\(2, 4, 4, 5\) do not agree with the 3 scales"):
        net.reshape()
