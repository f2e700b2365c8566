from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError, LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


def deconvolution(params: str, *shapes: tuple[int, ...], engine: str):
    layer = f'type: "Deconvolution" convolution_param {{ {params} }}'
    return make_layer_net(layer, [Bottom(shape) for shape in shapes], len(shapes), engine=engine)


def slowly(x, weight, bias, stride, pad, dilation, group):
    """Compute the definition: every pixel stamps the filters onto an image that is cropped at the end."""
    kernel, (channels, outputs) = weight.shape[2:], weight.shape[:2]
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    y = np.zeros((len(x), outputs * group, *whole))
    for n, c, *at in np.ndindex(*x.shape):
        first = c // (channels // group) * outputs
        for m, *tap in product(range(outputs), *map(range, kernel)):
            place = [i * s + j * d for i, s, j, d in zip(at, stride, tap, dilation, strict=True)]
            y[(n, first + m, *place)] += x[(n, c, *at)] * weight[(c, m, *tap)]
    inside = y[(..., *(slice(p, size - p) for p, size in zip(pad, whole, strict=True)))]
    return inside + bias.reshape(-1, *[1] * len(kernel))


@pytest.mark.parametrize(
    ("params", "shape", "stride", "pad", "dilation", "group"),
    [
        ("num_output: 4 kernel_size: 3 group: 2", (2, 6, 3, 4), (1, 1), (0, 0), (1, 1), 2),
        ("num_output: 3 kernel_size: 4 stride: 2 pad: 1 group: 3", (2, 3, 3, 2), (2, 2), (1, 1), (1, 1), 3),
        ("num_output: 6 kernel_size: 2 stride: 3 group: 3", (1, 3, 2, 3), (3, 3), (0, 0), (1, 1), 3),
        ("num_output: 2 kernel_h: 1 kernel_w: 3 pad_w: 2 dilation: 2", (1, 2, 3, 5), (1, 1), (0, 2), (2, 2), 1),
        ("num_output: 4 kernel_size: 2 dilation: 3 dilation: 1 stride: 2 stride: 3 group: 2",
         (1, 4, 3, 2), (2, 3), (0, 0), (3, 1), 2),
        ("num_output: 3 kernel_size: 3 stride: 2 pad: 1 dilation: 2", (2, 2, 4), (2,), (1,), (2,), 1),
        ("num_output: 2 kernel_size: 2 stride: 2 pad: 1 group: 2 force_nd_im2col: true",
         (1, 2, 2, 3, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1), 2),
        ("num_output: 2 kernel_size: 2 stride: 2", (1, 2, 2, 1, 2, 2), (2,) * 4, (0,) * 4, (1,) * 4, 1),
        ("num_output: 4 group: 2", (3, 6), (), (), (), 2),
    ],
)  # fmt: skip
def test_against_the_definition(engine, params, shape, stride, pad, dilation, group) -> None:
    net = deconvolution(params, shape, engine=engine)
    net.forward()
    weight, bias = (blob.data for blob in net.params["under_test"])
    expected = slowly(net.blobs["x0"].data, weight, bias, stride, pad, dilation, group)
    np.testing.assert_allclose(net.blobs["y0"].data, expected, atol=1e-12)
    check(net)


def test_the_filters_have_the_inputs_first(engine) -> None:
    net = deconvolution("num_output: 6 kernel_h: 3 kernel_w: 2 group: 2", (1, 4, 2, 2), engine=engine)
    assert [blob.shape for blob in net.params["under_test"]] == [(4, 3, 3, 2), (6,)]


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_bilinear_filler_interpolates(make_net, factor) -> None:
    """An enlarged plane is the same plane with smaller steps, except at its edges."""
    kernel, pad = 2 * factor - factor % 2, (factor - 1 + 1) // 2
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 6 } } }\n'
        'layer { name: "larger" type: "Deconvolution" bottom: "x" top: "y" convolution_param { num_output: 2 group: 2\n'
        f"        kernel_size: {kernel} stride: {factor} pad: {pad} bias_term: false\n"
        '        weight_filler { type: "bilinear" } } }',
        TEST,
    )
    rows, columns = np.mgrid[:5, :6].astype(np.float32)
    net.blobs["x"].data[...] = [[rows, 3 - 2 * columns]]
    y = net.forward()["y"]
    assert y.shape == (1, 2, 5 * factor, 6 * factor)
    at = (np.arange(6 * factor) - (factor - 1) / 2) / factor
    inside = slice(factor, -factor)
    wanted = np.broadcast_arrays(at[inside.start : 4 * factor, None], 3 - 2 * at[None, inside])
    np.testing.assert_allclose(y[0, :, inside, inside], wanted, rtol=1e-5, atol=1e-5)


def test_a_frozen_blob_gets_no_gradient(engine) -> None:
    for needed in ([True, False], [False, True]):
        net = deconvolution("num_output: 2 kernel_size: 2", (1, 2, 3, 3), engine=engine)
        net.node("under_test").layer.param_propagate_down = needed
        net.forward()
        net.blobs["y0"].diff[...] = 1
        net.backward()
        assert [blob.diff.any() for blob in net.params["under_test"]] == needed


def test_the_image_may_change_and_the_channels_may_not(engine) -> None:
    net = deconvolution("num_output: 2 kernel_size: 3 stride: 2", (1, 2, 5, 5), engine=engine)
    net.blobs["x0"].reshape(3, 2, 2, 4)
    net.forward()
    assert net.blobs["y0"].shape == (3, 2, 5, 9)
    check(net)
    net.blobs["x0"].reshape(1, 4, 5, 5)
    with pytest.raises(LayerError, match=r"the bottom's shape \(1, 4, 5, 5\) has 4 channels, the weights have 2"):
        net.reshape()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("kernel_size: 3", "num_output is 0"),
        ("num_output: 4 kernel_size: 3 group: 3", "num_output (4) cannot be shared out among 3 groups"),
        ("num_output: 2 kernel_size: 3 pad: 5",
         "pad 5 x 5 leaves nothing of the output, which would be 0 x 0. Use a larger image, less padding or a larger"),
        ('num_output: 2 kernel_h: 3 kernel_w: 2 weight_filler { type: "bilinear" }',
         "the bilinear filler needs a blob (M, C, K, K), not (6, 2, 3, 2)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, message) -> None:
    with pytest.raises(CaffeError) as caught:
        deconvolution(params, (2, 6, 5, 5), engine=engine)
    assert str(caught.value).startswith(f'layer "under_test" (Deconvolution): {message}')
