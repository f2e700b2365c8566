"""Winograd convolutions along rows: their results, where they are used, and that nets use them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST
from tests.ops.kernels import Counted, agree, arrays, close, compiled_runs, gradients, needs, net_of, threads

needs("winograd_rows.cpp")
torch = pytest.importorskip("torch")
winograd_rows = pytest.importorskip("caffe_lite.ops.torch.kernels.winograd_rows")

ONES = (1, 1)


@st.composite
def convolutions(draw):
    columns, stride = draw(
        st.sampled_from([(k, s) for k in range(1, 16) for s in range(1, 5) if -(-k // s) in winograd_rows._TILES])
    )
    rows, down = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    pad = [draw(st.integers(0, 3)) for _ in "hw"]
    image = [
        max(draw(st.integers(1, most)), k - 2 * p) for most, k, p in zip((60, 40), (rows, columns), pad, strict=True)
    ]
    n, channels, outs = (
        draw(st.sampled_from([1, 3])),
        draw(st.integers(1, 6)),
        draw(st.sampled_from([1, 16, 20, 33, 64])),
    )
    return (n, channels, *image), (outs, channels, rows, columns), (down, stride), pad


@settings(max_examples=80, deadline=None)
@given(convolutions(), st.integers(1, 3), st.sampled_from([1.0, 0.0, 0.25]), st.booleans())
def test_values_and_gradients(case, of_threads, slope, biased):
    x_shape, weight_shape, stride, pad = case
    x, w, bias = arrays(1, x_shape, weight_shape, weight_shape[:1])
    exact = torch.conv2d(x.double(), w.double(), bias.double() if biased else None, stride, pad)
    (dy,) = arrays(2, exact.shape)
    _, dw, _ = torch.ops.aten.convolution_backward(
        *(dy.double(), x.double(), w.double(), None, stride, pad, ONES, False, [0, 0], 1, [False, True, False])
    )
    # The usual size of a sum of such terms; a single one may be close to 0 by chance.
    usual = torch.conv2d(x.double() ** 2, w.double() ** 2, None, stride, pad).sqrt().max()
    with threads(of_threads):
        y = winograd_rows.convolution(x, w, bias if biased else None, stride, pad, slope)
        close(y, torch.nn.functional.leaky_relu(exact, slope), size=usual)
        close(winograd_rows.weight_gradient(dy, x, weight_shape[2:], stride, pad), dw)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (7, 2), (11, 4)])
def test_rounding_is_near_that_of_float32(kernel, stride):
    x, w = arrays(3, (2, 3, 64, 64), (32, 3, kernel, kernel))
    exact = torch.conv2d(x.double(), w.double(), stride=stride)
    y = winograd_rows.convolution(x, w, None, [stride, stride], [0, 0])
    assert (y - exact).std() / exact.std() < 8e-7


def test_nothing_that_is_not_finite_is_lost():
    x, w = arrays(4, (1, 3, 16, 16), (16, 3, 5, 5))
    for value in (float("nan"), float("inf")):
        x[0, 1, 8, 9] = value
        y = winograd_rows.convolution(x, w, None, ONES, [2, 2])
        assert not y[0, :, 6:11, 7:12].isfinite().any()
        assert y[0, :, :6].isfinite().all() and y[0, :, 11:].isfinite().all()


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "stride", "dilation", "group", "does"),
    [
        ((100, 3, 32, 32), (32, 3, 5, 5), ONES, ONES, 1, True),
        ((8, 3, 224, 224), (64, 3, 7, 7), (2, 2), ONES, 1, True),
        ((16, 3, 227, 227), (96, 3, 11, 11), (4, 4), ONES, 1, True),
        ((64, 1, 28, 28), (20, 1, 5, 5), ONES, ONES, 1, False),
        ((8, 3, 224, 224), (64, 3, 3, 3), ONES, ONES, 1, False),
        ((8, 3, 224, 224), (64, 3, 9, 9), ONES, ONES, 1, False),
        ((8, 3, 224, 224), (64, 3, 5, 5), ONES, (2, 2), 1, False),
        ((8, 4, 224, 224), (64, 2, 5, 5), ONES, ONES, 2, False),
        ((8, 64, 56, 56), (64, 64, 5, 5), ONES, ONES, 1, False),
        ((8, 3, 56, 56, 56), (64, 3, 5, 5, 5), (1, 1, 1), (1, 1, 1), 1, False),
        ((0, 3, 32, 32), (32, 3, 5, 5), ONES, ONES, 1, False),
    ],
)
def test_where_it_serves(x_shape, weight_shape, stride, dilation, group, does):
    assert winograd_rows.serves(x_shape, weight_shape, stride, dilation, group) == does


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 40 kernel_size: 7 stride: 2 pad: 3 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }
layer { name: "loss" type: "Reduction" bottom: "c" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""
SUM = """
layer { name: "addend" type: "Input" top: "addend" input_param { shape { dim: 4 dim: 40 dim: 10 dim: 10 } } }
layer { name: "sum" type: "Eltwise" bottom: "addend" bottom: "c" top: "sum" }
layer { name: "r" type: "ReLU" bottom: "sum" top: "sum" relu_param { negative_slope: 0.1 } }
"""
OPERATORS = {"convolution": 1, "weight_gradient": 1}


def test_a_training_net_runs_them_and_agrees_with_the_reference():
    net = net_of(NET, "torch")
    with Counted() as counted:
        mine = gradients(net)
    assert counted.of("caffe_lite.rows_") == OPERATORS and not counted.of("aten.convolution")
    agree(mine, gradients(net_of(NET, "numpy")))


@pytest.mark.parametrize(
    ("text", "blob"), [(NET, "c"), (NET[: NET.index('layer { name: "r"')] + SUM, "sum")], ids=["alone", "with a sum"]
)
def test_a_test_net_rectifies_in_the_same_pass(text, blob):
    net = net_of(text, "torch", TEST)
    for _ in range(2):  # the second pass folds
        net.forward_pass()
    with Counted() as counted:
        net.forward_pass()
    assert counted.of("conv") == {"olution": 1} and counted.of("caffe_lite.rows_") == {"convolution": 1}
    reference = net_of(text, "numpy", TEST)
    reference.forward_pass()
    np.testing.assert_allclose(net.blobs[blob].data, reference.blobs[blob].data, rtol=1e-4, atol=1e-5)


def test_float64_is_left_to_torch():
    with Counted() as counted:
        gradients(net_of(NET, "torch", dtype="float64"))
    assert not counted.of("caffe_lite.rows_") and counted.of("aten.convolution")


@pytest.mark.slow
def test_compiled_passes_run_them_too():
    compiled_runs(NET, "caffe_lite.rows_", OPERATORS, rate=1e-5)
