"""The compiled max pooling: its results, where it is used, and that nets use it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.kernels import Counted, agree, compiled_runs, gradients, needs, net_of, threads
from tests.ops.plain import Geometry, Plain, poolings

needs("max_pooling.cpp")
torch = pytest.importorskip("torch")
max_pooling = pytest.importorskip("caffe_lite.ops.torch.kernels.max_pooling")


@settings(max_examples=150, deadline=None)
@given(poolings(channels=(16, 120)), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_it_is_what_the_plain_formulas_say(case: tuple[Geometry, tuple[int, ...]], of_threads: int, seed: int) -> None:
    g, out = case
    windows, rng, plain = (g.kernel, g.stride, g.pad), np.random.default_rng(seed), Plain("float32")
    x = rng.integers(-2, 3, g.shape).astype(np.float32)  # with equal values
    expected, expected_choice = plain.max_pool(x, *windows, out)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    with threads(of_threads):
        y, choice = max_pooling.max_pool(torch.tensor(x), *windows, out)
        dx = max_pooling.max_pool_backward(torch.tensor(dy), choice, *windows, g.shape[2:])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(choice, expected_choice)
    expected = plain.max_pool_backward(dy, expected_choice, g.shape, *windows)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("where", range(4))
def test_nan_is_larger_than_all(where: int) -> None:
    x = torch.arange(16.0 * 4).reshape(1, 16, 2, 2)
    x[0, 3].view(-1)[where] = float("nan")
    y, choice = max_pooling.max_pool(x, (2, 2), (1, 1), (0, 0), (1, 1))
    assert y.isnan().nonzero().tolist() == [[0, 3, 0, 0]]
    assert choice[0, 3].item() == where


def test_where_it_serves() -> None:
    assert max_pooling.serves((8, 16, 5, 5))
    assert not max_pooling.serves((8, 15, 5, 5))
    assert not max_pooling.serves((8, 16, 5, 5, 5))


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 8 dim: 3 dim: 20 dim: 20 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 40 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" top: "mask" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "drop mask" type: "Silence" bottom: "mask" }
layer { name: "loss" type: "Reduction" bottom: "p" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


OPERATORS = {"": 1, "_backward": 1}


def test_a_net_runs_it_and_agrees_with_the_reference() -> None:
    net, reference = net_of(NET, "torch"), net_of(NET, "numpy")
    with Counted() as counted:
        mine = gradients(net)
    assert counted.of("caffe_lite.native_max_pool") == OPERATORS and not counted.of("aten.max_pool")
    agree(mine, gradients(reference))
    np.testing.assert_array_equal(net.blobs["mask"].data, reference.blobs["mask"].data)


def test_float64_is_left_to_torch() -> None:
    with Counted() as counted:
        gradients(net_of(NET, "torch", dtype="float64"))
    assert not counted.of("caffe_lite.native_max_pool") and counted.of("aten.max_pool")


@pytest.mark.slow
def test_compiled_passes_run_it_too() -> None:
    compiled_runs(NET, "caffe_lite.native_max_pool", OPERATORS, rate=1e-5)
