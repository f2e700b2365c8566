from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net


def convolution(params: str, *shapes: tuple[int, ...], engine: str):
    layer = f'type: "Convolution" convolution_param {{ {params} }}'
    return make_layer_net(layer, [Bottom(shape) for shape in shapes], len(shapes), engine=engine)


def slowly(x, weight, bias, stride, pad, dilation, group):
    """Compute the definition, one product at a time."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    kernel, (outputs, inputs) = weight.shape[2:], weight.shape[:2]
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    y = np.empty((len(x), outputs, *out))
    for n, m, *at in np.ndindex(*y.shape):
        first = m // (outputs // group) * inputs
        y[(n, m, *at)] = bias[m] + sum(
            weight[(m, c, *tap)]
            * x[(n, first + c, *(i * s + j * d for i, s, j, d in zip(at, stride, tap, dilation, strict=True)))]
            for c, *tap in product(range(inputs), *map(range, kernel))
        )
    return y


@pytest.mark.parametrize(
    ("params", "shape", "stride", "pad", "dilation", "group"),
    [
        ("num_output: 4 kernel_size: 3 group: 2", (2, 6, 5, 4), (1, 1), (0, 0), (1, 1), 2),
        ("num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 3", (2, 3, 6, 5), (2, 2), (1, 1), (1, 1), 3),
        ("num_output: 2 kernel_h: 1 kernel_w: 3 pad_w: 2 dilation: 2", (1, 2, 4, 5), (1, 1), (0, 2), (2, 2), 1),
        ("num_output: 4 kernel_size: 2 dilation: 3 dilation: 1 stride: 2 stride: 3 group: 2",
         (1, 4, 8, 7), (2, 3), (0, 0), (3, 1), 2),
        ("num_output: 2 kernel_size: 2 stride: 3", (2, 2, 7, 6), (3, 3), (0, 0), (1, 1), 1),
        ("num_output: 2 kernel_size: 1 stride: 2 pad: 1", (2, 3, 3, 4), (2, 2), (1, 1), (1, 1), 1),
        ("num_output: 3 kernel_size: 3 pad: 1 dilation: 2", (2, 2, 7), (1,), (1,), (2,), 1),
        ("num_output: 2 kernel_size: 2 pad: 1 group: 2 force_nd_im2col: true",
         (1, 2, 2, 3, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1), 2),
        ("num_output: 4 group: 2", (3, 6), (), (), (), 2),
        ("num_output: 3 kernel_size: 3 pad: 3 engine: CUDNN", (1, 2, 1, 1), (1, 1), (3, 3), (1, 1), 1),
    ],
)  # fmt: skip
def test_against_the_definition(engine, params, shape, stride, pad, dilation, group) -> None:
    net = convolution(params, shape, engine=engine)
    net.forward()
    weight, bias = (blob.data for blob in net.params["under_test"])
    expected = slowly(net.blobs["x0"].data, weight, bias, stride, pad, dilation, group)
    np.testing.assert_allclose(net.blobs["y0"].data, expected, atol=1e-12)
    check(net)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 2, 5, 4), 2), ((2, 3, 2, 5, 4), -3), ((2, 5, 4), 0)])
def test_axes_before_the_channels_count_items(engine, shape, axis) -> None:
    net = convolution(f"num_output: 3 kernel_size: 3 axis: {axis}", shape, engine=engine)
    flat = convolution("num_output: 3 kernel_size: 3", (int(np.prod(shape[:-3])), 2, 5, 4), engine=engine)
    flat.blobs["x0"].data[...] = net.blobs["x0"].data.reshape(flat.blobs["x0"].shape)
    net.forward()
    flat.forward()
    assert net.blobs["y0"].shape == (*shape[:-3], 3, 3, 2)
    np.testing.assert_allclose(net.blobs["y0"].data.ravel(), flat.blobs["y0"].data.ravel(), atol=1e-12)
    check(net)


def test_bottoms_share_the_weights_and_their_gradients_add_up(engine) -> None:
    params = "num_output: 3 kernel_size: 2"
    both = convolution(params, (2, 2, 4, 4), (2, 2, 4, 4), engine=engine)
    check(both)
    one = convolution(params, (2, 2, 4, 4), engine=engine)
    for mine, theirs in zip(one.params["under_test"], both.params["under_test"], strict=True):
        mine.data[...] = theirs.data
    both.forward()
    for i in (0, 1):
        one.blobs["x0"].data[...] = both.blobs[f"x{i}"].data
        one.forward()
        np.testing.assert_allclose(one.blobs["y0"].data, both.blobs[f"y{i}"].data)
        one.blobs["y0"].diff[...] = both.blobs[f"y{i}"].diff
        one.backward()
    for mine, theirs in zip(one.params["under_test"], both.params["under_test"], strict=True):
        np.testing.assert_allclose(mine.diff, theirs.diff)


@pytest.mark.parametrize("needed", [[True, False], [False, True]])
def test_a_frozen_blob_gets_no_gradient(engine, needed) -> None:
    net = convolution("num_output: 2 kernel_size: 2", (1, 2, 3, 3), engine=engine)
    net.node("under_test").layer.param_propagate_down = needed
    net.forward()
    net.blobs["y0"].diff[...] = 1
    net.backward()
    assert [blob.diff.any() for blob in net.params["under_test"]] == needed


def test_the_image_may_change_and_the_channels_may_not(engine) -> None:
    net = convolution("num_output: 2 kernel_size: 3", (1, 2, 5, 5), engine=engine)
    net.blobs["x0"].reshape(3, 2, 8, 4)
    net.forward()
    assert net.blobs["y0"].shape == (3, 2, 6, 2)
    check(net)
    net.blobs["x0"].reshape(1, 4, 5, 5)
    with pytest.raises(LayerError, match=r"the bottom's shape \(1, 4, 5, 5\) has 4 channels, the weights have 2"):
        net.reshape()
    net.blobs["x0"].reshape(2, 5, 5)
    with pytest.raises(LayerError, match="the bottom now has 3 axes, the layer was made for 4"):
        net.reshape()
    net.blobs["x0"].reshape(1, 2, 5, 2)
    with pytest.raises(LayerError, match="no window of 3 x 3 with pad 0 x 0 fits into an image of 5 x 2"):
        net.forward()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("kernel_size: 3", "num_output is 0"),
        ("num_output: 2", "no kernel_size is given"),
        ("num_output: 2 kernel_size: 3 group: 0", "group is 0"),
        ("num_output: 4 kernel_size: 3 group: 4", "the bottom's channels (6) cannot be shared out among 4 groups"),
        ("num_output: 4 kernel_size: 3 group: 3", "num_output (4) cannot be shared out among 3 groups"),
        ("num_output: 2 kernel_size: 7", "no window of 7 x 7 with pad 0 x 0 fits into an image of 5 x 5"),
        ("num_output: 2 kernel_size: 3 axis: 4", "axis 4 is out of range for a bottom with 4 axes"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, message) -> None:
    with pytest.raises(LayerError) as caught:
        convolution(params, (2, 6, 5, 5), engine=engine)
    assert str(caught.value).startswith(f'layer "under_test" (Convolution): {message}')


@pytest.mark.parametrize("type", ["Convolution", "Deconvolution"])
def test_an_image_of_no_channels_or_no_pixels(make_net, type) -> None:
    for dims, message in (
        ("dim: 2 dim: 0 dim: 5 dim: 5", r"the bottom's shape \(2, 0, 5, 5\) has no channels"),
        ("dim: 2 dim: 3 dim: 5 dim: 0", "an image of 5 x 0 has no pixels"),
    ):
        with pytest.raises(LayerError, match=message):
            make_net(f"""
                layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
                layer {{ name: "c" type: "{type}" bottom: "x" top: "y"
                         convolution_param {{ num_output: 2 kernel_size: 3 pad: 2 }} }}""")


def test_bottoms_of_different_shapes(engine) -> None:
    with pytest.raises(LayerError, match=r"the bottoms' shapes \(1, 2, 5, 5\) and \(1, 2, 5, 4\) differ"):
        convolution("num_output: 2 kernel_size: 3", (1, 2, 5, 5), (1, 2, 5, 4), engine=engine)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_empty_batch_passes_through(make_net, stride):
    conv = f"convolution_param {{ num_output: 2 kernel_size: 3 pad: 1 stride: {stride} }}"
    net = make_net(
        f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: [0, 3, 6, 6] }} }} }}
        layer {{ name: "a" type: "Convolution" bottom: "x" top: "a" {conv} }}
        layer {{ name: "b" type: "Convolution" bottom: "a" top: "b" {conv} loss_weight: 1 }}"""
    )
    assert net.forward()["b"].shape == (0, 2, 6 if stride == 1 else 2, 6 if stride == 1 else 2)
    net.backward()
    assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)


@pytest.mark.parametrize(
    ("params", "slope"),
    [
        ("relu: true", 0),
        ("relu: true negative_slope: 0.5", 0.5),
        ("fuse_type: FUSED_CONV_RELU", 0),
        ("fuse_type: FUSED_CONV_RELU relu_param { negative_slope: 0.25 }", 0.25),
        ("negative_slope: 0.5", 1),
    ],
)
def test_a_rectifier_may_follow_in_the_layer(engine, params, slope) -> None:
    shape = (2, 3, 4, 5)
    plain, rectified = (
        convolution(f"num_output: 4 kernel_size: 2 {more}", shape, engine=engine) for more in ("", params)
    )
    plain.forward(), rectified.forward()
    y = plain.blobs["y0"].data
    np.testing.assert_allclose(rectified.blobs["y0"].data, np.where(y > 0, y, slope * y))


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ("fuse_type: FUSED_CONV_ELTWISE_RELU", "fuse_type is FUSED_CONV_ELTWISE_RELU"),
        ("relu: true negative_slope: -1", "negative_slope is -1"),
    ],
)
def test_what_may_not_follow_in_the_layer(engine, params, what) -> None:
    with pytest.raises(LayerError, match=what):
        convolution(f"num_output: 4 kernel_size: 2 {params}", (2, 3, 4, 5), engine=engine)


def test_each_axis_may_have_its_dilation_by_name(engine) -> None:
    shape = (1, 2, 6, 7)
    named, listed = (
        convolution(f"num_output: 3 kernel_size: 2 {dilation}", shape, engine=engine)
        for dilation in ("dilation_h: 2 dilation_w: 3", "dilation: 2 dilation: 3")
    )
    named.forward(), listed.forward()
    np.testing.assert_array_equal(named.blobs["y0"].data, listed.blobs["y0"].data)
    assert named.blobs["y0"].shape == (1, 3, 4, 4)
