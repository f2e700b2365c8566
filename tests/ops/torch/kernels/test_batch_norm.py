"""The compiled BatchNorm: its results, and that training nets use it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.kernels import Counted, agree, arrays, close, compiled_runs, gradients, needs, net_of, threads

needs("batch_norm.cpp")
torch = pytest.importorskip("torch")
batch_norm = pytest.importorskip("caffe_lite.ops.torch.kernels.batch_norm")

SHAPES = st.tuples(*(st.sampled_from(sizes) for sizes in ([1, 3], [1, 7, 16, 40, 70], [1, 9, 23], [2, 11])))


@settings(max_examples=80, deadline=None)
@given(SHAPES, st.integers(1, 3), st.sampled_from([1.0, 0.0, 0.25]), st.booleans(), st.booleans())
def test_values_and_gradients(shape, of_threads, slope, shifted, needed):
    x, dy, scale, shift = arrays(1, shape, shape, shape[1:2], shape[1:2])
    leaves = [array.double().requires_grad_() for array in (3 * x + 10, scale, shift)]
    y_exact = torch.nn.functional.batch_norm(
        *(leaves[0], None, None, leaves[1], leaves[2] if shifted else None), training=True, eps=1e-3
    )
    exact = torch.nn.functional.leaky_relu(y_exact, slope)
    with threads(of_threads):
        y, mean, variance, saved = batch_norm.batch_norm(3 * x + 10, scale, shift if shifted else None, 1e-3, slope)
        rectified = None if slope == 1 else y
        dx, dscale, dshift = batch_norm.batch_norm_backward(dy, 3 * x + 10, rectified, saved, scale, slope, needed)
    close(y, exact.detach())
    # If rounding moves a result to the other side of 0, its gradient differs, too.
    exact.backward(torch.where((y > 0) == (exact > 0), dy, 0.0).double())
    if not ((y > 0) == (exact > 0)).all():
        return
    close(mean, leaves[0].detach().mean((0, 2, 3)))
    close(variance, leaves[0].detach().var((0, 2, 3)))
    if needed:
        factor = (scale * saved.inverse_std).abs().max()  # dx itself may be close to 0
        assert (dx - leaves[0].grad).abs().max() <= 1e-4 * factor * dy.abs().max()
    else:
        assert dx.numel() == 0
    sums = dy.abs().sum((0, 2, 3)).max()
    assert (dscale - leaves[1].grad).abs().max() <= 1e-4 * sums
    if shifted:
        assert (dshift - leaves[2].grad).abs().max() <= 1e-5 * sums
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_mean_far_from_zero_costs_no_precision():
    (x,) = arrays(2, (4, 16, 30, 30))
    x = x + 1000.0
    _, mean, variance, _ = batch_norm.batch_norm(x, torch.ones(16), None, 1e-5, 1.0)
    close(mean, x.double().mean((0, 2, 3)), 1e-6)
    close(variance, x.double().var((0, 2, 3)), 1e-6)


def test_nan_spreads():
    (x,) = arrays(3, (2, 16, 4, 4))
    x[1, 5, 2, 2] = float("nan")
    y, mean, variance, _ = batch_norm.batch_norm(x, torch.ones(16), None, 1e-5, 0.0)
    assert mean.isnan().nonzero().tolist() == variance.isnan().nonzero().tolist() == [[5]]
    assert y[:, 5].isnan().all() and y[:, :5].isfinite().all() and y[:, 6:].isfinite().all()


def test_where_it_serves():
    assert batch_norm.serves(torch.zeros(2, 3, 4, 5))
    assert not batch_norm.serves(torch.zeros(2, 3))
    assert not batch_norm.serves(torch.zeros(0, 3, 4, 5))
    assert not batch_norm.serves(torch.zeros(2, 3, 4, 5, dtype=torch.float64))


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 20 kernel_size: 3 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true filler { value: 0.7 } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d"
  convolution_param { num_output: 20 kernel_size: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "b2" type: "BatchNorm" bottom: "d" top: "d" }
layer { name: "s2" type: "Scale" bottom: "d" top: "d" }
layer { name: "power" type: "Power" bottom: "d" top: "power" power_param { power: 3 } }
layer { name: "loss" type: "Reduction" bottom: "power" top: "loss" loss_weight: 1 }
"""
OPERATORS = {"": 2, "_backward": 2}


def test_a_training_net_runs_it_and_agrees_with_the_reference():
    net, reference = net_of(NET, "torch"), net_of(NET, "numpy")
    with Counted() as counted:
        mine = gradients(net)
    assert counted.of("caffe_lite.batch_norm") == OPERATORS
    assert not counted.of("relu") and not counted.of("threshold")
    agree(mine, gradients(reference))
    for name in ("b", "b2"):
        agree(*([blob.data for blob in each.params[name]] for each in (net, reference)))


def test_float64_is_left_to_torch():
    with Counted() as counted:
        gradients(net_of(NET, "torch", dtype="float64"))
    assert not counted.of("caffe_lite.batch_norm") and counted.of("aten.native_batch_norm")


@pytest.mark.slow
def test_compiled_passes_run_it_too():
    compiled_runs(NET, "caffe_lite.batch_norm", OPERATORS, rate=1e-3)


BATCH_OF_ONE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 7 dim: 17 dim: 9 } } }
layer { name: "pool" type: "Pooling" bottom: "x" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride_h: 2 stride_w: 4 } }
layer { name: "norm" type: "BatchNorm" bottom: "pool" top: "pool" }
layer { name: "scale" type: "Scale" bottom: "pool" top: "pool" scale_param { filler { value: 2 } bias_term: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 1 axis: -1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_one_in_odd_strides(dtype):
    """Torch's pooling of one image has the strides (7, 1, 21, 7), which its BatchNorm misreads."""
    mine, others = (gradients(net_of(BATCH_OF_ONE, engine, dtype=dtype)) for engine in ("torch", "numpy"))
    agree(mine, others)
