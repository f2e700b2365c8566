"""Winograd convolutions: their results, where they are used, and that nets use them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST
from tests.ops.kernels import Counted, agree, arrays, close, compiled_runs, gradients, needs, net_of, threads

needs("winograd.cpp")
torch = pytest.importorskip("torch")
winograd = pytest.importorskip("caffe_lite.ops.torch.kernels.winograd")

ONES = (1, 1)


@st.composite
def convolutions(draw):
    tile, size = draw(st.sampled_from([(tile, size) for size, tiles in winograd._TILES.items() for tile in tiles]))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    ins, outs = (draw(st.sampled_from([1, 3, 8, 16, 17, 20, 40, 65])) for _ in "io")
    pad = [draw(st.integers(0, size - 1)) for _ in "hw"]
    image = [draw(st.integers(size, 19)) for _ in "hw"]
    return tile, size, group, draw(st.sampled_from([1, 3])), ins * group, outs * group, pad, image


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(1, 3), st.sampled_from([1.0, 0.0, 0.25]), st.booleans(), st.booleans())
def test_values_and_gradients(case, of_threads, slope, biased, added):
    tile, size, group, n, ins, outs, pad, image = case
    x, w, bias = arrays(1, (n, ins, *image), (outs, ins // group, size, size), (outs,))
    exact = torch.conv2d(x.double(), w.double(), bias.double() if biased else None, 1, pad, 1, group)
    (addend, dy) = arrays(2, exact.shape, exact.shape)
    back = torch.ops.aten.convolution_backward(
        *(dy.double(), x.double(), w.double(), None, ONES, pad, ONES, False, [0, 0], group, [True, True, False])
    )
    exact = torch.nn.functional.leaky_relu(exact + addend if added else exact, slope)
    with threads(of_threads):
        y = winograd.convolution(
            *(x, winograd.filters(w, tile, group), bias if biased else None, tile, size, outs, pad, group),
            *(addend if added else None, slope),
        )
        close(y, exact)
        once = winograd.convolution_once(x, w, bias if biased else None, tile, pad, group)
        close(torch.nn.functional.leaky_relu(once + addend if added else once, slope), exact)
        close(winograd.image_gradient(dy, w, tile, pad, group), back[0])
        close(winograd.weight_gradient(dy, x, tile, size, pad, group), back[1])
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("tile", "size", "most"), [(2, 3, 4e-7), (4, 3, 1e-6), (4, 5, 4e-6)])
def test_rounding_is_near_that_of_float32(tile, size, most):
    x, w = arrays(3, (2, 64, 24, 24), (64, 64, size, size))
    exact = torch.conv2d(x.double(), w.double(), padding=size // 2)
    pad = [size // 2] * 2
    y = winograd.convolution(x, winograd.filters(w, tile, 1), None, tile, size, 64, pad, 1)
    assert (y - exact).std() / exact.std() < most


def test_nothing_that_is_not_finite_is_lost():
    x, w = arrays(4, (1, 16, 12, 12), (16, 16, 3, 3))
    for value in (float("nan"), float("inf")):
        x[0, 5, 6, 7] = value
        y = winograd.convolution(x, winograd.filters(w, 4, 1), None, 4, 3, 16, [1, 1], 1)
        assert not y[0, :, 5:8, 6:9].isfinite().any()


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "stride", "pad", "dilation", "group", "tile"),
    [
        ((8, 64, 56, 56), (64, 64, 3, 3), ONES, ONES, ONES, 1, 4),
        ((16, 96, 27, 27), (256, 48, 5, 5), ONES, (2, 2), ONES, 2, 4),
        ((8, 64, 56, 56), (64, 64, 3, 3), (2, 2), ONES, ONES, 1, 0),
        ((8, 64, 56, 56), (64, 64, 3, 3), ONES, (2, 2), (2, 2), 1, 0),
        ((8, 64, 56, 56), (64, 64, 3, 3), ONES, (3, 3), ONES, 1, 0),
        ((8, 64, 56, 56), (64, 64, 3, 5), ONES, (1, 2), ONES, 1, 0),
        ((8, 64, 56, 56), (64, 64, 1, 1), ONES, (0, 0), ONES, 1, 0),
        ((8, 64, 56), (64, 64, 3), (1,), (1,), (1,), 1, 0),
        ((8, 64, 9, 9, 9), (64, 64, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1, 0),
        ((1, 3, 32, 32), (8, 3, 5, 5), ONES, (2, 2), ONES, 1, 0),
        ((64, 64, 56, 56), (64, 1, 3, 3), ONES, ONES, ONES, 64, 0),
        ((1, 512, 4, 4), (512, 512, 3, 3), ONES, ONES, ONES, 1, 0),
        ((0, 64, 56, 56), (64, 64, 3, 3), ONES, ONES, ONES, 1, 0),
    ],
)
def test_where_it_serves(x_shape, weight_shape, stride, pad, dilation, group, tile):
    assert winograd.best_tile(x_shape, weight_shape, stride, pad, dilation, group) == tile


def test_small_tiles_serve_where_filters_would_be_most_of_what_is_read():
    case = (512, 512, 3, 3), ONES, ONES, ONES, 1
    assert winograd.best_tile((1, 512, 7, 7), *case) == 2
    assert winograd.best_tile((8, 512, 7, 7), *case) == 4


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 8 dim: 24 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 40 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d"
  convolution_param { num_output: 33 kernel_size: 5 pad: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "d" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""
# In a forward and a backward pass; the images of the first layer need no gradient.
OPERATORS = {"convolution_once": 3, "weight_gradient": 2}


def test_a_training_net_runs_them_and_agrees_with_the_reference():
    net = net_of(NET, "torch")
    with Counted() as counted:
        mine = gradients(net)
    assert counted.of("caffe_lite.winograd_") == OPERATORS
    agree(mine, gradients(net_of(NET, "numpy")))


def test_a_test_net_keeps_its_filters_and_rectifies_in_the_same_pass():
    net = net_of(NET, "torch", TEST)
    for _ in range(2):  # the second pass folds
        net.forward_pass()
    with Counted() as counted:
        net.forward_pass()
    assert counted.of("caffe_lite.winograd_") == {"convolution": 2}
    assert not counted.of("relu")
    reference = net_of(NET, "numpy", TEST)
    reference.forward_pass()
    for name in ("c", "d"):
        np.testing.assert_allclose(net.blobs[name].data, reference.blobs[name].data, rtol=1e-4, atol=1e-5)


def test_float64_is_left_to_torch():
    with Counted() as counted:
        gradients(net_of(NET, "torch", dtype="float64"))
    assert not counted.of("caffe_lite.winograd_") and counted.of("aten.convolution")


@pytest.mark.slow
def test_compiled_passes_run_them_too():
    compiled_runs(NET, "caffe_lite.winograd_", OPERATORS, rate=1e-7)
