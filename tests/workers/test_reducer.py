"""Gradients over several processes, against one process that sees all their batches."""

from __future__ import annotations

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


def one_pass(group: Any, engine: str, dtype: str, skipping: int, compile: bool) -> list[Any]:
    """Run one iteration on this rank's rows; return the number, the gradients and how many buckets left early."""

    from caffe_lite.workers.reducer import Reducer

    net = new_net(ROWS, engine, dtype, compile=compile)
    x, y = (values[group.rank * ROWS :][:ROWS] for values in batches(group.count))
    reducer = Reducer(group, net._caffe_graph)
    early = 0
    for _ in range(2):  # the buckets of the first pass serve the second
        net.clear_param_diffs()
        net.blobs["x"].data[...], net.blobs["y"].data[...] = x, y
        loss = net._caffe_graph.forward_backward_pass(reducer.after_step)
        if group.rank == skipping:
            net.learnable_params[-1].blob.clear_diff()
        early = reducer._launched
        numbers = reducer.finish([float(loss), group.rank])
    gradients = [param.blob.ops.host_view(param.blob.diff) for param in net.learnable_params]
    return [numbers, [[float(g.sum()), float(np.abs(g).sum())] for g in gradients], early, reducer.sent]


@pytest.mark.parametrize(
    ("count", "dtype", "engine", "compile"),
    [
        (2, "float32", "numpy", False),
        (3, "float64", "numpy", False),
        (2, "float32", "torch", False),
        (3, "float64", "torch", False),
        (2, "float32", "torch", True),
    ],
)
def test_gradients_are_means_over_all(count: int, dtype: str, engine: str, compile: bool) -> None:
    results = together(count, one_pass, engine, dtype, -1, compile)
    net = new_net(ROWS * count, engine, dtype)
    net.clear_param_diffs()
    net.blobs["x"].data[...], net.blobs["y"].data[...] = batches(count)
    loss = float(net._caffe_graph.forward_backward_pass())
    wanted = [param.blob.ops.host_view(param.blob.diff) for param in net.learnable_params]
    rounding = {"rel": 1e-5, "abs": 1e-6} if dtype == "float32" else {"rel": 1e-12, "abs": 1e-13}
    learned = [param for param in net.learnable_params if param.lr_mult]
    for numbers, gradients, early, sent in results:
        assert numbers == [pytest.approx(loss, rel=1e-5), pytest.approx((count - 1) / 2)]
        for found, gradient in zip(gradients, wanted, strict=True):
            assert found == [pytest.approx(float(gradient.sum()), **rounding),
                             pytest.approx(float(np.abs(gradient).sum()), **rounding)]  # fmt: skip
        assert early == (0 if compile else 1)
        assert sent == sum(param.blob.count for param in learned) * np.dtype(dtype).itemsize
    assert all(gradients == results[0][1] for _, gradients, _, _ in results)


def test_a_gradient_that_one_worker_lacks_counts_as_zeros_there() -> None:
    (_, all_of_it, *_), _ = together(2, one_pass, "torch", "float32", -1, False)
    (_, without, *_), _ = together(2, one_pass, "torch", "float32", 1, False)
    assert without[:-1] == all_of_it[:-1]
    assert without[-1] != all_of_it[-1]
