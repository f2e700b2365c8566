"""Shared code for tests of the compiled kernels: nets that run on them, and a count of the operators called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from caffe_lite import TRAIN, Net
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.solvers import get_solver

torch = pytest.importorskip("torch")
TorchDispatchMode = pytest.importorskip("torch.utils._python_dispatch").TorchDispatchMode
native = pytest.importorskip("caffe_lite.ops.torch.kernels.native")


def needs(source: str) -> None:
    """Skip the calling module if the kernels cannot be compiled, except in CI."""
    if native.library(source) is None and "CI" not in os.environ:
        pytest.skip(f"{source} cannot be compiled here", allow_module_level=True)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def arrays(seed: int, *shapes):
    make = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=make) for shape in shapes]


def close(mine, exact, of: float = 3e-5, size=0.0):
    """Assert that the largest difference is small relative to the largest value, or to ``size`` if terms may cancel."""
    assert (mine - exact).abs().max() <= of * max(exact.abs().max(), size)


class Counted(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls[str(function).removesuffix(".default")] += 1
        return function(*args, **(kwargs or {}))

    def of(self, part: str) -> dict[str, int]:
        """Return the counts of the operators with this in their names, named by what follows it."""
        return {name.partition(part)[2]: n for name, n in self.calls.items() if part in name}


def filled(net: Net) -> Net:
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    return net


def net_of(text: str, engine: str, phase: int = TRAIN, **options) -> Net:
    return filled(Net(parse_text(text, NetParameter, "net.prototxt"), phase, engine=engine, seed=3, **options))


def parameters(net: Net, what: str = "data") -> list[np.ndarray]:
    return [getattr(blob, what).copy() for blobs in net.params.values() for blob in blobs]


def gradients(net: Net) -> list[np.ndarray]:
    net.clear_param_diffs()
    net.forward_backward_pass()
    return parameters(net, "diff")


def agree(mine: list[np.ndarray], others: list[np.ndarray]) -> None:
    for a, b in zip(mine, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def compiled_runs(text: str, part: str, operators: dict[str, int], rate: float) -> None:
    """Check that a compiled iteration calls these operators, like one that is not compiled, and learns the same."""
    param = SolverParameter(base_lr=rate, lr_policy="fixed", random_seed=5)
    param.net_param.CopyFrom(parse_text(text, NetParameter, "net.prototxt").message)
    weights = []
    for compile in (False, True):
        solver = get_solver(param, engine="torch", compile=compile)
        filled(solver.net)
        solver.step(2)
        with Counted() as counted:
            solver.step(1)
        assert counted.of(part) == operators
        weights.append(parameters(solver.net))
    agree(*weights)
