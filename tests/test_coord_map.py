from __future__ import annotations

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite import NetSpec
from caffe_lite import layers as L
from caffe_lite.coord_map import AxisMismatchException, conv_params, coord_map, coord_map_from_to, crop, crop_params
from caffe_lite.errors import NetError


def spatial(kernel=3, stride=1, pad=0, **more):
    return {"num_output": 2, "kernel_size": kernel, "stride": stride, "pad": pad, **more}


def data():
    return L.Input(shape={"dim": [1, 2, 60, 50]})


def assert_map(top_from, top_to, scale, offset):
    axis, a, b = coord_map_from_to(top_from, top_to)
    assert axis == 1
    np.testing.assert_allclose(np.ravel(a), np.ravel(scale))
    np.testing.assert_allclose(np.ravel(b), np.ravel(offset))


@pytest.mark.parametrize(
    ("params", "scale", "offset"),
    [
        (spatial(3), 1, 1),
        (spatial(3, pad=1), 1, 0),
        (spatial(1, stride=4), 4, 0),
        (spatial(4, stride=2, pad=1), 2, 0.5),
        (spatial(3, dilation=4), 1, 4),
        (spatial([3, 5], [1, 2], [0, 1]), [1, 2], [1, 1]),
    ],
)
def test_convolution_and_pooling(params, scale, offset):
    x = data()
    assert_map(L.Convolution(x, **params), x, scale, offset)
    if "dilation" not in params:
        assert_map(L.Pooling(x, **{k: v for k, v in params.items() if k != "num_output"}), x, scale, offset)
    assert_map(L.Deconvolution(x, convolution_param=params), x, 1 / np.array(scale), -np.array(offset) / scale)


def test_separate_sizes_of_height_and_width():
    x = data()
    assert_map(L.Pooling(x, kernel_h=2, kernel_w=4, stride_h=2, stride_w=4), x, [2, 4], [0.5, 1.5])


def test_layers_that_keep_every_pixel():
    x = data()
    y = L.ReLU(L.Scale(L.LRN(L.Eltwise(x, x))), in_place=True)
    assert coord_map_from_to(y, x) == (None, 1, 0)
    assert coord_map(y.fn) == (None, 1, 0)
    cropped = crop(y, x)
    assert cropped.fn.params["crop_param"] == {"axis": 2, "offset": [0]}


def test_a_chain_is_the_product_of_its_maps():
    x = data()
    y = L.Pooling(L.Convolution(x, **spatial(3, pad=1)), kernel_size=2, stride=2)
    assert_map(y, x, 2, 0.5)
    assert_map(x, y, 0.5, -0.25)
    assert_map(L.Deconvolution(y, convolution_param=spatial(4, 2, 1)), x, 1, 0)


def test_crop_layers_shift_and_follow_the_first_bottom_only():
    x = data()
    small = L.Convolution(x, **spatial(11))
    assert_map(L.Crop(x, small, axis=2, offset=5), x, 1, 5)
    unrelated = data()
    with pytest.raises(RuntimeError):
        coord_map_from_to(L.Crop(unrelated, x, axis=2), x)


def test_blobs_that_share_an_ancestor():
    x = data()
    assert_map(L.Convolution(x, **spatial(5)), L.Convolution(x, **spatial(3)), 1, 1)


def test_unconnected_blobs():
    x = data()
    for y in (L.InnerProduct(x, num_output=2), data(), L.Pooling(x, global_pooling=True)):
        with pytest.raises(RuntimeError, match="are they connected by spatial layers"):
            coord_map_from_to(y, x)


def test_axes_that_do_not_agree():
    x = data()
    y = L.Convolution(L.Convolution(x, **spatial()), **spatial(axis=2))
    with pytest.raises(AxisMismatchException, match="different axes"):
        coord_map_from_to(y, x)


def test_what_cannot_be_cropped():
    x = data()
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(x, L.Convolution(x, **spatial(1, stride=2)))
    with pytest.raises(AssertionError, match="cannot crop negative offset"):
        crop(L.Convolution(x, **spatial(3)), x)
    with pytest.raises(AssertionError, match="cannot crop noninteger offset"):
        crop(x, L.Convolution(x, **spatial(4)))
    for wanted in (NetError, KeyError):
        with pytest.raises(wanted, match="no kernel_size is given"):
            crop(x, L.Convolution(x, num_output=2))


def test_the_parameters_that_tell_how_pixels_lie():
    x = data()
    axis, stride, kernel, pad = conv_params(L.Convolution(x, **spatial(3, 2, 1, dilation=2)).fn)
    assert (axis, stride.tolist(), kernel.tolist(), pad.tolist()) == (1, [2], [5], [1])
    assert [part.tolist() for part in conv_params(L.Pooling(x, kernel_size=2).fn)[1:]] == [[1], [2], [0]]
    axis, offset = crop_params(L.Crop(x, x, crop_param={"axis": 3, "offset": 4}).fn)
    assert (axis, offset.tolist()) == (3, [4])
    axis, offset = crop_params(L.Crop(x, x).fn)
    assert (axis, offset.tolist()) == (2, [0])


def test_a_crop_aligns_a_skip_connection():
    """As in FCN, the image is padded, reduced, enlarged and cropped to the input; a pixel comes back to its place."""
    n = NetSpec()
    n.data = data()
    n.down = L.Convolution(n.data, **spatial(1, 4, 20, bias_term=False, weight_filler={"type": "constant", "value": 1}))
    n.up = L.Deconvolution(
        n.down,
        convolution_param=spatial(1, 4, 0, bias_term=False, weight_filler={"type": "constant", "value": 1}),
    )
    n.score = crop(n.up, n.data)
    assert n.score.fn.params["crop_param"] == {"axis": 2, "offset": [20]}
    net = caffe.Net(n.to_proto(), caffe.TEST)
    image = np.zeros((1, 2, 60, 50), np.float32)
    image[:, :, 24, 12] = 1
    net.blobs["data"].data[...] = image
    assert np.argwhere(net.forward()["score"]).tolist() == [[0, 0, 24, 12], [0, 1, 24, 12]]
