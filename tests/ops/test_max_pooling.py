"""The compiled max pooling: what it computes, where it serves, and that nets run it."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.net import TRAIN, Net
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.proto.prototxt import parse_text
from caffe_lite.solvers import get_solver

from .plain import Geometry, Plain, poolings

torch = pytest.importorskip("torch")
TorchDispatchMode = pytest.importorskip("torch.utils._python_dispatch").TorchDispatchMode
max_pooling = pytest.importorskip("caffe_lite.ops.max_pooling")
native = pytest.importorskip("caffe_lite.ops.native")

if native.library("max_pooling.cpp") is None and "CI" not in os.environ:
    pytest.skip("max_pooling.cpp cannot be compiled here", allow_module_level=True)


@settings(max_examples=150, deadline=None)
@given(poolings(channels=(16, 120)), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_it_is_what_the_plain_formulas_say(case: tuple[Geometry, tuple[int, ...]], threads: int, seed: int) -> None:
    g, out = case
    windows, rng, plain = (g.kernel, g.stride, g.pad), np.random.default_rng(seed), Plain("float32")
    x = rng.integers(-2, 3, g.shape).astype(np.float32)  # with equals
    expected, expected_choice = plain.max_pool(x, *windows, out)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y, choice = max_pooling.max_pool(torch.tensor(x), *windows, out)
        dx = max_pooling.max_pool_backward(torch.tensor(dy), choice, *windows, g.shape[2:])
    finally:
        torch.set_num_threads(before)
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


class Counted(TorchDispatchMode):
    """Counts the operators of pooling that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "pool" in str(function):
            self.calls[str(function).removesuffix(".default")] += 1
        return function(*args, **(kwargs or {}))


OPERATORS = {"caffe_lite.native_max_pool": 1, "caffe_lite.native_max_pool_backward": 1}


def filled(net: Net) -> Net:
    net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal(net.blobs["x"].shape)
    return net


def gradients(engine: str, dtype: str = "float32") -> tuple[Counter[str], list[np.ndarray]]:
    net = filled(Net(parse_text(NET, NetParameter, "net.prototxt"), TRAIN, engine=engine, seed=3, dtype=dtype))
    net.clear_param_diffs()
    with Counted() as counted:
        net.forward_backward_pass()
    convolution = net.layer_dict["c"]
    return counted.calls, [net.blobs["mask"].data, *(blob.diff for blob in convolution.blobs)]


def test_a_net_runs_it_and_agrees_with_the_reference() -> None:
    calls, mine = gradients("torch")
    assert calls == OPERATORS
    for a, b in zip(mine, gradients("numpy")[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_float64_is_left_to_torch() -> None:
    calls, _ = gradients("torch", "float64")
    assert not any("native" in name for name in calls)


@pytest.mark.slow
def test_compiled_passes_run_it_too() -> None:
    param = SolverParameter(base_lr=1e-5, lr_policy="fixed", random_seed=5)
    param.net_param.CopyFrom(parse_text(NET, NetParameter, "net.prototxt").message)
    weights = []
    for compile in (False, True):
        solver = get_solver(param, engine="torch", compile=compile)
        filled(solver.net)
        solver.step(2)
        with Counted() as counted:
            solver.step(1)
        assert counted.calls == OPERATORS
        weights.append([blob.data.copy() for blob in solver.net.layer_dict["c"].blobs])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
