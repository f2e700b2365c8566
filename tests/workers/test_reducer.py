"""Gradients over several processes, against one process that sees all their batches."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from caffe_lite import TRAIN, Net
from tests.workers.processes import together

pytest.importorskip("torch")

# ip3 and ip1 share weights, the weights of "cut" are not learned, and "back" fills the first bucket.
NET = """
layer { name: "in" type: "Input" top: "x" top: "y"
  input_param { shape { dim: 4 dim: 6 } shape { dim: 4 dim: 6 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "a" top: "a" }
layer { name: "cut" type: "InnerProduct" bottom: "a" top: "c" param { lr_mult: 0 } param { lr_mult: 2 }
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "ip3" type: "InnerProduct" bottom: "c" top: "d" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "big" type: "InnerProduct" bottom: "d" top: "e"
  inner_product_param { num_output: 70000 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "back" type: "InnerProduct" bottom: "e" top: "f"
  inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "f" bottom: "y" top: "loss" }
"""
ROWS = 4


def batches(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(count * ROWS, 6)), rng.normal(size=(count * ROWS, 6))


def new_net(rows: int, engine: str, dtype: str, **options: Any) -> Net:
    from caffe_lite.proto.caffe_pb2 import NetParameter
    from caffe_lite.proto.parser import parse_text

    net = Net(parse_text(NET, NetParameter), TRAIN, engine=engine, dtype=dtype, seed=3, **options)
    for name in ("x", "y"):
        net.blobs[name].reshape(rows, 6)
    return net


def passes(group: Any, cases: list[list[Any]]) -> list[list[Any]]:
    """Run each case's iteration on this rank's rows; return its numbers, gradients, and buckets that left early."""
    return [one_pass(group, *case) for case in cases]


def one_pass(group: Any, engine: str, dtype: str, compile: bool, lacking: int) -> list[Any]:
    from caffe_lite.workers.reducer import Reducer

    net = new_net(ROWS, engine, dtype, compile=compile)
    x, y = (values[group.rank * ROWS :][:ROWS] for values in batches(group.count))
    reducer = Reducer(group, net._caffe_graph)
    early = 0
    numbers: list[float] = []

    def after_step(number: int, step: Any) -> None:
        if group.rank == lacking:
            net.learnable_params[-1].blob.clear_diff()
        reducer.after_step(number, step)

    for _ in range(2):  # the buckets of the first pass serve the second
        net.clear_param_diffs()
        net.blobs["x"].data[...], net.blobs["y"].data[...] = x, y
        loss = net._caffe_graph.forward_backward_pass(after_step)
        early = reducer._launched
        numbers = reducer.finish([float(loss), group.rank])
    gradients = [param.blob.ops.host_view(param.blob.diff) for param in net.learnable_params]
    digest = hashlib.sha256(b"".join(gradient.tobytes() for gradient in gradients)).hexdigest()
    sent = sum(bucket.bytes for bucket in reducer._buckets)
    return [numbers, [[float(g.sum()), float(np.abs(g).sum())] for g in gradients], early, sent, digest]


CASES: dict[int, list[list[Any]]] = {
    2: [
        ["numpy", "float32", False, -1],
        ["torch", "float32", False, -1],
        ["torch", "float32", True, -1],
        ["torch", "float32", False, 1],
    ],
    3: [["numpy", "float64", False, -1], ["torch", "float64", False, -1]],
}


@pytest.mark.slow
@pytest.mark.parametrize("count", CASES)
def test_gradients_are_means_over_all(count: int) -> None:
    results = together(count, passes, CASES[count])
    for case, (engine, dtype, compile, lacking) in enumerate(CASES[count]):
        net = new_net(ROWS * count, engine, dtype)
        net.clear_param_diffs()
        net.blobs["x"].data[...], net.blobs["y"].data[...] = batches(count)
        loss = float(net._caffe_graph.forward_backward_pass())
        wanted = [param.blob.ops.host_view(param.blob.diff) for param in net.learnable_params]
        rounding = {"rel": 1e-5, "abs": 1e-6} if dtype == "float32" else {"rel": 1e-12, "abs": 1e-13}
        learned = [param for param in net.learnable_params if param.lr_mult]
        numbers, gradients, early, sent, digest = results[0][case]
        assert numbers == [pytest.approx(loss, rel=1e-5), pytest.approx((count - 1) / 2)]
        sums = [[float(g.sum()), float(np.abs(g).sum())] for g in wanted]
        if lacking >= 0:  # the last gradient of that worker counts as zeros
            assert gradients[-1][1] < 0.9 * sums[-1][1]
            del gradients[-1], sums[-1]
        assert gradients == [[pytest.approx(each, **rounding) for each in pair] for pair in sums]
        assert early == (0 if compile else 1)
        assert sent == sum(param.blob.count for param in learned) * np.dtype(dtype).itemsize
        assert all(rank[case][-1] == digest for rank in results)
