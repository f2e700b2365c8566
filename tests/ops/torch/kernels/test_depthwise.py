"""The compiled depthwise convolution: its results, where it is used, and that nets use it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST
from tests.ops.kernels import Counted, agree, arrays, close, compiled_runs, gradients, needs, net_of, threads

needs("depthwise.cpp")
torch = pytest.importorskip("torch")
depthwise = pytest.importorskip("caffe_lite.ops.torch.kernels.depthwise")

ONES = (1, 1)


@st.composite
def convolutions(draw):
    """Draw any geometry in which a window fits: also thin images, gaps between windows, and padding beyond them."""
    kernel = draw(st.sampled_from([(3, 3), (5, 5), (7, 7), (1, 1), (1, 4), (2, 3)]))
    stride, dilation, pad = (
        (draw(st.integers(least, most)), draw(st.integers(least, most))) for least, most in ((1, 3), (1, 3), (0, 4))
    )
    image = [
        max(draw(st.integers(1, 20)), d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, pad, dilation, strict=True)
    ]
    channels = draw(st.sampled_from([16, 17, 24, 32, 50]))
    return (draw(st.sampled_from([1, 3])), channels, *image), (channels, 1, *kernel), (stride, pad, dilation)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(1, 3), st.sampled_from([1.0, 0.0, 0.25]), st.booleans())
def test_values_and_gradients(case, of_threads, slope, biased):
    x_shape, weight_shape, (stride, pad, dilation) = case
    channels = x_shape[1]
    x, w, bias = arrays(1, x_shape, weight_shape, weight_shape[:1])
    bias = bias if biased else None
    windows = stride, pad, dilation
    exact_bias = None if bias is None else bias.double()
    exact = torch.conv2d(x.double(), w.double(), exact_bias, *windows, channels)
    (dy,) = arrays(2, exact.shape)
    wanted = torch.ops.aten.convolution_backward(
        *(dy.double(), x.double(), w.double(), None, *windows, False, [0, 0], channels, [True, True, False])
    )
    with threads(of_threads):
        y = depthwise.convolution(x, w, bias, *windows, slope)
        both = depthwise.gradients(dy, x, w, *windows, True, True)
        dx, _ = depthwise.gradients(dy, x, w, *windows, True, False)
        _, dw = depthwise.gradients(dy, x, w, *windows, False, True)
    close(y, torch.nn.functional.leaky_relu(exact, slope), of=3e-6, size=1)
    assert y.is_contiguous(memory_format=torch.channels_last)
    for mine, alone, theirs in zip(both, (dx, dw), wanted, strict=False):
        close(mine, theirs, of=3e-6, size=1)
        assert torch.equal(mine, alone)


def test_nothing_that_is_not_finite_is_lost():
    x, w = arrays(4, (1, 20, 12, 12), (20, 1, 3, 3))
    x[0, 7, 5, 6] = float("nan")
    y = depthwise.convolution(x, w, None, ONES, ONES, ONES)
    assert y.isnan().nonzero().tolist() == [[0, 7, i, j] for i in (4, 5, 6) for j in (5, 6, 7)]


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "group", "does"),
    [
        ((1, 16, 5, 1), (16, 1, 3, 3), 16, True),
        ((1, 15, 5, 5), (15, 1, 3, 3), 15, False),
        ((1, 16, 5, 5), (32, 1, 3, 3), 16, False),
        ((1, 32, 5, 5), (32, 2, 3, 3), 16, False),
        ((1, 16, 5, 5, 5), (16, 1, 3, 3, 3), 16, False),
        ((0, 16, 5, 5), (16, 1, 3, 3), 16, False),
    ],
)
def test_where_it_serves(x_shape, weight_shape, group, does):
    assert depthwise.serves(x_shape, weight_shape, group) == does


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 40 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "d" type: "Convolution" bottom: "c" top: "d"
  convolution_param { num_output: 40 group: 40 kernel_size: 5 stride: 2 pad: 3 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "d" top: "d" relu_param { negative_slope: 0.1 } }
layer { name: "loss" type: "Reduction" bottom: "d" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""
SUM = """
layer { name: "addend" type: "Input" top: "addend" input_param { shape { dim: 4 dim: 40 dim: 11 dim: 11 } } }
layer { name: "sum" type: "Eltwise" bottom: "addend" bottom: "d" top: "sum" }
layer { name: "r" type: "ReLU" bottom: "sum" top: "sum" relu_param { negative_slope: 0.1 } }
"""
OPERATORS = {"": 1, "_backward": 1}


def test_a_training_net_runs_it_and_agrees_with_the_reference():
    net = net_of(NET, "torch")
    with Counted() as counted:
        mine = gradients(net)
    assert counted.of("caffe_lite.depthwise") == OPERATORS
    agree(mine, gradients(net_of(NET, "numpy")))


@pytest.mark.parametrize(
    ("text", "blob"), [(NET, "d"), (NET[: NET.index('layer { name: "r"')] + SUM, "sum")], ids=["alone", "with a sum"]
)
def test_a_test_net_rectifies_in_the_same_pass(text, blob):
    net = net_of(text, "torch", TEST)
    for _ in range(2):  # the second pass folds
        net.forward_pass()
    with Counted() as counted:
        net.forward_pass()
    assert counted.of("caffe_lite.depthwise") == {"": 1}
    reference = net_of(text, "numpy", TEST)
    reference.forward_pass()
    np.testing.assert_allclose(net.blobs[blob].data, reference.blobs[blob].data, rtol=1e-4, atol=1e-5)


def test_float64_is_left_to_torch():
    with Counted() as counted:
        gradients(net_of(NET, "torch", dtype="float64"))
    assert not counted.of("caffe_lite.depthwise") and counted.of("aten.convolution")


@pytest.mark.slow
def test_compiled_passes_run_it_too():
    compiled_runs(NET, "caffe_lite.depthwise", OPERATORS, rate=1e-5)
