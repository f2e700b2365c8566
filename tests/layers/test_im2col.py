from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net


def im2col(params: str, shape: tuple[int, ...], engine: str):
    return make_net(f'type: "Im2col" convolution_param {{ {params} }}', [Bottom(shape)], engine=engine)


@pytest.mark.parametrize(
    ("kernel", "text", "shape", "stride", "pad", "dilation"),
    [
        ((3, 2), "kernel_h: 3 kernel_w: 2 stride: 2 pad_w: 1", (2, 3, 5, 4), (2, 2), (0, 1), (1, 1)),
        ((3,), "kernel_size: 3 dilation: 2 pad: 1", (1, 2, 6), (1,), (1,), (2,)),
        (
            (2, 1, 2),
            "kernel_size: 2 kernel_size: 1 kernel_size: 2 pad: 1",
            (2, 2, 3, 2, 3),
            (1,) * 3,
            (1,) * 3,
            (1,) * 3,
        ),
    ],
)
@pytest.mark.parametrize("force", ["", "force_nd_im2col: true"])
def test_against_the_definition(engine, kernel, text, shape, stride, pad, dilation, force) -> None:
    net = im2col(f"{text} {force}", shape, engine)
    net.forward()
    x = np.pad(net.blobs["x0"].data, [(0, 0), (0, 0), *((p, p) for p in pad)])
    y = net.blobs["y0"].data
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    assert y.shape == (shape[0], shape[1] * np.prod(kernel), *out)
    y = y.reshape(*shape[:2], *kernel, *out)
    for index in np.ndindex(*y.shape):
        n, c, *rest = index
        tap, at = rest[: len(kernel)], rest[len(kernel) :]
        place = [i * s + k * d for i, s, k, d in zip(at, stride, tap, dilation, strict=True)]
        assert y[index] == x[(n, c, *place)]


def test_a_convolution_is_a_product_with_the_columns(engine) -> None:
    geometry = "kernel_size: 3 stride: 2 pad: 1"
    columns = im2col(geometry, (2, 3, 5, 6), engine)
    layer = f'type: "Convolution" convolution_param {{ num_output: 4 bias_term: false {geometry} }}'
    convolution = make_net(layer, [Bottom((2, 3, 5, 6))], engine=engine)
    for net in (columns, convolution):
        net.forward()
    weight = convolution.params["under_test"][0].data.reshape(4, -1)
    product = np.einsum("mk,nkhw->nmhw", weight, columns.blobs["y0"].data)
    np.testing.assert_allclose(product, convolution.blobs["y0"].data)


def test_axes_before_the_channels_count_items(engine) -> None:
    net = im2col("kernel_size: 2 axis: 2", (2, 3, 2, 3, 4), engine)
    assert net.blobs["y0"].shape == (2, 3, 8, 2, 3)
    net.blobs["x0"].reshape(1, 4, 2, 5, 2)
    net.reshape()
    assert net.blobs["y0"].shape == (1, 4, 8, 4, 1)
    check(net)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "no kernel_size is given"),
        ("kernel_size: 5", "no window of 5 x 5 with pad 0 x 0 fits into an image of 4 x 4"),
        ("kernel_size: 2 axis: 3", "no spatial axis follows axis 3 of the bottom (1, 2, 4, 4). Use a smaller axis"),
        ("kernel_size: 2 axis: 5", "axis 5 is out of range for a bottom with 4 axes"),
    ],
)
def test_what_makes_no_sense(engine, params, message) -> None:
    with pytest.raises(LayerError) as caught:
        im2col(params, (1, 2, 4, 4), engine)
    assert str(caught.value).startswith(f'layer "under_test" (Im2col): {message}')


def test_the_number_of_axes_stays(engine) -> None:
    net = im2col("kernel_size: 2", (1, 2, 4, 4), engine)
    net.blobs["x0"].reshape(2, 4, 4)
    with pytest.raises(LayerError, match="the bottom now has 3 axes, the layer was made for 4"):
        net.reshape()
