"""Nets, also fused and compiled, over empty batches between other batches."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, TRAIN, Classifier, Net
from caffe_lite.errors import NetError
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.solvers import SGDSolver, get_solver

needs_compiler = pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
XAVIER = 'weight_filler { type: "xavier" }'
INPUT = """
layer { name: "in" type: "Input" top: "x" top: "label"
        input_param { shape { dim: 2 dim: 3 dim: 24 dim: 24 } shape { dim: 2 } } }
"""


def layer(name: str, kind: str, bottoms: str, top: str, more: str = "") -> str:
    bottom = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottom} top: "{top}" {more} }}\n'


def convolution(name: str, bottom: str, outputs: int, more: str) -> str:
    return layer(name, "Convolution", bottom, name, f"convolution_param {{ num_output: {outputs} {more} {XAVIER} }}")


def inner_product(name: str, bottom: str, outputs: int) -> str:
    return layer(name, "InnerProduct", bottom, name, f"inner_product_param {{ num_output: {outputs} {XAVIER} }}")


# This net has the layers for which engines have their own kernels, and those that are fused.
NET = (
    INPUT
    + convolution("c1", "x", 32, "kernel_size: 7 stride: 2 pad: 3")
    + layer("b1", "BatchNorm", "c1", "c1")
    + layer("s1", "Scale", "c1", "c1", "scale_param { bias_term: true }")
    + layer("r1", "ReLU", "c1", "c1")
    + layer("p1", "Pooling", "c1", "p1", "pooling_param { kernel_size: 3 stride: 2 }")
    + convolution("c2", "p1", 32, "kernel_size: 3 pad: 1")
    + layer("r2", "ReLU", "c2", "c2")
    + layer("n2", "LRN", "c2", "n2")
    + convolution("c3", "n2", 32, "kernel_size: 3 pad: 1 group: 2")
    + layer("sum", "Eltwise", "c3 n2", "sum")
    + layer("r3", "ReLU", "sum", "sum")
    + layer("d1", "Deconvolution", "sum", "d1", f"convolution_param {{ num_output: 8 kernel_size: 2 {XAVIER} }}")
    + layer("n3", "LRN", "d1", "n3", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }")
    + layer("p3", "Pooling", "n3", "p3", "pooling_param { pool: AVE global_pooling: true }")
    + layer("flat", "Reshape", "p3", "flat", "reshape_param { shape { dim: 0 dim: -1 } }")
    + inner_product("ip1", "flat", 8)
    + layer("r4", "ReLU", "ip1", "ip1")
    + layer("drop", "Dropout", "ip1", "ip1")
    + inner_product("ip2", "ip1", 4)
    + layer("loss", "SoftmaxWithLoss", "ip2 label", "loss")
    + layer("accuracy", "Accuracy", "ip2 label", "accuracy")
)


def net_of(text: str, phase: int, engine: str, **options) -> Net:
    return Net(text_format.Parse(text, NetParameter()), phase, engine=engine, seed=3, **options)


def batch(net: Net, size: int) -> None:
    rng = np.random.default_rng(size)
    for name in ("x", "label"):
        blob = net.blobs[name]
        blob.reshape(size, *blob.shape[1:])
        blob.data[...] = rng.normal(size=blob.shape) if name == "x" else rng.integers(0, 4, blob.shape)


def params(net: Net) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_between_other_batches(phase: int, dtype: str, engine: str) -> None:
    net, never = (net_of("force_backward: true" + NET, phase, engine, dtype=dtype) for _ in range(2))
    for size in (2, 2, 0, 2, 0, 0, 3):
        batch(net, size)
        before = params(net)
        if size:
            batch(never, size)
            wanted = never.forward()
            never.clear_param_diffs()
            never.backward()
        outputs = net.forward()
        net.clear_param_diffs()
        net.backward()
        for name, blob in net.blobs.items():
            assert blob.data.shape == blob.diff.shape == blob.shape, name
            assert np.isfinite(blob.data).all() and np.isfinite(blob.diff).all(), name
        gradients = [blob.diff for blobs in net.params.values() for blob in blobs]
        if size:
            for name, value in wanted.items():
                np.testing.assert_array_equal(outputs[name], value)
            theirs = [blob.diff for blobs in never.params.values() for blob in blobs]
            for mine, other in zip(gradients, theirs, strict=True):
                np.testing.assert_array_equal(mine, other)
            continue
        assert net.blobs["ip2"].shape == (0, 4)
        assert outputs == {"loss": 0, "accuracy": 0}
        assert not any(gradient.any() for gradient in gradients)
        for now, value in zip(params(net), before, strict=True):
            np.testing.assert_array_equal(now, value)


def solver_of(text: str, engine: str, compile: bool = False, **settings) -> SGDSolver:
    param = SolverParameter(
        **{"base_lr": 0.1, "lr_policy": "fixed", "random_seed": 1, "display": 1, "average_loss": 2, **settings}
    )
    text_format.Parse(text, param.net_param)
    return get_solver(param, engine=engine, compile=compile)


KINDS = {
    "SGD": {"momentum": 0.9, "iter_size": 2},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {},
    "RMSProp": {"rms_decay": 0.9},
    "AdaDelta": {"momentum": 0.9, "delta": 1e-6},
    "Adam": {"momentum": 0.9, "momentum2": 0.99},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_solver_learns_nothing_from_nothing(kind: str, engine: str) -> None:
    solver = solver_of(
        NET, engine, type=kind, clip_gradients=1, test_iter=[2], test_interval=1, debug_info=True, **KINDS[kind]
    )
    for net in (solver.net, *solver.test_nets):
        batch(net, 0)
    before = params(solver.net)
    solver.step(3)
    for now, value in zip(params(solver.net), before, strict=True):
        np.testing.assert_array_equal(now, value)
    batch(solver.net, 2)
    solver.step(1)
    after = params(solver.net)
    assert all(np.isfinite(value).all() for value in after)
    assert not np.array_equal(after[0], before[0])


FILTERED = (
    INPUT
    + 'layer { name: "s" type: "Input" top: "select" input_param { shape { dim: 2 } } }\n'
    + layer("some", "Filter", "x label select", "few", 'top: "few_labels"')
    + convolution("c1", "few", 8, "kernel_size: 5 stride: 2")
    + layer("b1", "BatchNorm", "c1", "c1")
    + layer("s1", "Scale", "c1", "c1")
    + layer("r1", "ReLU", "c1", "c1")
    + layer("spp", "SPP", "c1", "spp", "spp_param { pyramid_height: 2 }")
    + inner_product("ip", "spp", 4)
    + layer("loss", "SoftmaxWithLoss", "ip few_labels", "loss")
    + layer("accuracy", "Accuracy", "ip few_labels", "accuracy")
)


def test_a_filter_that_selects_nothing(engine: str) -> None:
    solver = solver_of(FILTERED, engine)
    batch(solver.net, 2)
    before = params(solver.net)
    solver.net.blobs["select"].data[...] = 0
    solver.step(2)
    assert solver.net.blobs["few"].shape == (0, 3, 24, 24) and solver.net.blobs["spp"].shape == (0, 40)
    for now, value in zip(params(solver.net), before, strict=True):
        np.testing.assert_array_equal(now, value)
    solver.net.blobs["select"].data[1] = 1
    solver.step(1)
    assert solver.net.blobs["spp"].shape == (1, 40)
    assert not np.array_equal(params(solver.net)[0], before[0])


@needs_compiler
def test_compiled(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("torch")
    text = INPUT + convolution("c", "x", 4, "kernel_size: 5") + layer("b", "BatchNorm", "c", "c")
    text += inner_product("ip", "c", 4) + layer("loss", "SoftmaxWithLoss", "ip label", "loss")
    solver = solver_of(text, "torch", compile=True)
    with caplog.at_level(logging.INFO):
        for size in (0, 0, 2, 0):
            check_step(solver, size)
    assert caplog.text.count("Compiling the forward and backward pass") == 2


def check_step(solver: SGDSolver, size: int) -> None:
    """Check that an iteration over so many images learns from them, and nothing from nothing."""
    batch(solver.net, size)
    before = params(solver.net)
    solver.step(1)
    changed = [not np.array_equal(now, value) for now, value in zip(params(solver.net), before, strict=True)]
    assert any(changed) == bool(size)
    assert bool(solver.net.blobs["loss"].data) == bool(size)


@needs_compiler
@pytest.mark.slow
def test_every_kernel_compiled() -> None:
    pytest.importorskip("torch")
    check_step(solver_of(NET, "torch", compile=True), 0)
    net = net_of(NET, TEST, "torch", compile=True)
    batch(net, 0)
    outputs = net.forward(["ip2"])
    assert outputs["ip2"].shape == (0, 4) and not outputs["loss"]


def test_a_net_that_classifies(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(INPUT.replace('top: "label"', "").replace("shape { dim: 2 }", "") + inner_product("ip", "x", 4))
    classifier = Classifier(path, engine=engine)
    with pytest.raises(NetError, match="there are no images"):
        classifier.predict([])
    classifier.blobs["x"].reshape(0, 3, 24, 24)
    with pytest.raises(NetError, match="the batch of 'x' holds nothing"):
        classifier.predict([np.zeros((24, 24, 3))])
