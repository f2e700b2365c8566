"""Snapshots of several workers: the same number goes on bit for bit, another one at the same place in the data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_lite.solvers import get_solver
from tests.solvers.test_team import pictures, write_lmdb
from tests.workers.processes import together

pytest.importorskip("torch")

# All that a state holds: a shuffled order, random crops and mirrors, masks, running statistics, an LSTM's states.
NET = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 20 mirror: true scale: 0.004 }
  data_param { source: "%(folder)s/lmdb" backend: LMDB batch_size: 6 shuffle: true } }
layer { name: "noise" type: "DummyData" top: "noise"
  dummy_data_param { data_filler { type: "gaussian" } shape { dim: 6 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 5 stride: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "of_noise" type: "InnerProduct" bottom: "noise" top: "of_noise"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "of_noise" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "%(folder)s/net.prototxt"
type: "Adam" base_lr: 0.002 momentum: 0.9 momentum2: 0.99 lr_policy: "plateau" gamma: 0.5 plateau_winsize: 3
average_loss: 3 iter_size: 2 clip_gradients: 1 max_iter: 1000 snapshot_after_train: false random_seed: 3
snapshot: %(snapshot)d snapshot_prefix: "%(folder)s/at" snapshot_format: %(form)s
"""
IMAGES = 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("lmdb")
    write_lmdb(tmp_path / "lmdb", *pictures(IMAGES))
    (tmp_path / "net.prototxt").write_text(NET % {"folder": tmp_path})
    return tmp_path


def write_solver(folder: Path, snapshot: int, form: str = "BINARYPROTO") -> str:
    path = folder / "solver.prototxt"
    path.write_text(SOLVER % {"folder": folder, "snapshot": snapshot, "form": form})
    return str(path)


def digests(
    group: Any, path: str, engine: str, resume: str, iterations: int, resume_first: bool = False
) -> list[list[str]]:
    """Train; return after each iteration a digest of parameters, history, loss and data."""
    solver = get_solver(path, engine=engine)
    if resume_first:  # as scripts for pycaffe do
        solver.restore(resume)
    if group.count > 1:
        solver.join(group)
    if resume and not resume_first:
        solver.restore(resume)
    seen: list[list[str]] = []
    learned = [param.blob for param in solver.net.learnable_params if param.lr_mult]

    def look(solver: Any) -> None:
        parameters = _digest(solver, *(blob.data for blob in learned), *solver.history)
        data = _digest(solver, solver.net._caffe_graph._blob["data"].data)
        seen.append([parameters, repr(solver.smoothed_loss), repr(solver.current_step), data])

    solver.on_iteration.append(look)
    solver.step(iterations)
    solver.close()
    return seen


def _digest(solver: Any, *arrays: Any) -> str:
    return hashlib.sha256(b"".join(solver.ops.host_view(array).tobytes() for array in arrays)).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "form"), [("torch", "BINARYPROTO"), ("numpy", "HDF5")])
def test_as_many_workers_go_on_bit_for_bit(folder: Path, engine: str, form: str) -> None:
    path = write_solver(folder, 4, form)
    unbroken = together(3, digests, path, engine, "", 12)
    assert unbroken[0] != unbroken[1]  # they see other data
    assert [[row[:3] for row in rank] for rank in unbroken[1:]] == [[row[:3] for row in unbroken[0]]] * 2
    end = ".h5" if form == "HDF5" else ""
    resumed = together(3, digests, path, engine, f"{folder}/at_iter_4.solverstate{end}", 8, engine == "torch")
    assert resumed == [rank[4:] for rank in unbroken]


def records(group: Any, path: str, resume: str, iterations: int) -> list[int]:
    """Train; return the labels that this worker has seen: here, the numbers of the records."""
    solver = get_solver(path, engine="numpy")
    if group.count > 1:
        solver.join(group)
    if resume:
        solver.restore(resume)
    seen: list[int] = []
    label = solver.net.blobs["label"]
    node = next(node for node in solver.net.nodes if node.name == "data")
    forward = node.layer.Forward

    def keeping(bottom: Any, top: Any) -> None:
        forward(bottom, top)
        seen.extend(int(value) for value in label.data)

    node.layer.Forward = keeping
    solver.step(iterations)
    solver.close()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3), (3, 2)])
def test_another_number_goes_on_at_the_same_place(folder: Path, before: int, after: int) -> None:
    images, _ = pictures(IMAGES)
    write_lmdb(folder / "numbered", images, np.arange(IMAGES))
    text = (NET % {"folder": folder}).replace("/lmdb", "/numbered").replace("num_output: 10", "num_output: 50")
    (folder / "net.prototxt").write_text(text.replace("batch_size: 6", "batch_size: 3").replace("dim: 6", "dim: 3"))
    path = write_solver(folder, 1)
    of_round = _in_turn(together(before, records, path, "", -(-IMAGES // (6 * before))))[:IMAGES]
    assert sorted(of_round) == list(range(IMAGES))
    further = _in_turn(together(after, records, path, f"{folder}/at_iter_1.solverstate", 2))
    wanted = of_round[6 * before :][: 12 * after]
    assert further[: len(wanted)] == wanted


def _in_turn(parts: list[list[int]]) -> list[int]:
    """Return the records that workers have read in the order in which they were dealt out."""
    return [record for turn in zip(*parts, strict=True) for record in turn]
