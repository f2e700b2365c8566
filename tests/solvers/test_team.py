"""Several workers train as one process with the whole batch does: on real data, to rounding or bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_lite.errors import WorkerError
from caffe_lite.ops import get_ops
from caffe_lite.proto.caffe_pb2 import Datum, NetParameter, SolverParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_solver
from caffe_lite.solvers import SGDSolver, SolverAction, get_solver
from tests.workers.processes import ROOT, together

lmdb = pytest.importorskip("lmdb")
pytest.importorskip("torch")

GOLDEN = ROOT / "tests" / "golden" / "trajectory"
LENET = ROOT / "configs" / "lenet"
CIFAR = ROOT / "configs" / "cifar10_quick"


def solver_of(path: str, dtype: str = "float32", **options: Any) -> SGDSolver:
    return get_solver(path, engine=get_ops("torch", dtype), **options)


def trained(group: Any, runs: list[list[Any]]) -> list[list[float]]:
    """Train each run in a group; write the parameters to a file for each rank, and return the losses."""
    found = []
    for path, dtype, iterations, split, out in runs:
        solver = solver_of(path, dtype, split_batch=split)
        solver.join(group)
        losses = []
        for _ in range(iterations):
            solver.step(1)
            losses.append(solver.smoothed_loss)
        save(solver, f"{out}{group.rank}.npz")
        solver.close()
        found.append(losses)
    return found


def save(solver: SGDSolver, path: str) -> None:
    np.savez(path, *[solver.ops.host_view(param.blob.data) for param in solver.net.learnable_params])


def saved(path: Path | str) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[name] for name in file.files]


def train_alone(group: Any, runs: list[list[Any]]) -> None:
    for path, dtype, iterations, _, out in runs:
        solver = solver_of(path, dtype)
        solver.step(iterations)
        save(solver, f"{out}alone.npz")
        solver.close()


def write_solver(folder: Path, config: Path, **settings: Any) -> str:
    """Write the solver of a configuration without its tests, and its net with the databases of a folder."""
    param = read_solver(config / "solver.prototxt").message
    for field in ("test_iter", "test_interval", "snapshot", "max_iter"):
        param.ClearField(field)
    for field, value in {"random_seed": 7, "lr_policy": "fixed", "max_iter": 1000, "snapshot_after_train": False,
                         **settings}.items():  # fmt: skip
        setattr(param, field, value)
    path = folder / "solver.prototxt"
    path.write_text(str(param))
    return str(path)


def write_lmdb(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    with lmdb.open(str(path), map_size=1 << 28) as database, database.begin(write=True) as transaction:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            datum = Datum(data=image.tobytes(), label=int(label))
            datum.channels, datum.height, datum.width = image.shape
            transaction.put(b"%06d" % index, datum.SerializeToString())


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, 32, 32) of 10 classes: noise over the pattern of their class, moved about."""
    rng = np.random.default_rng(1)
    patterns = 40 * rng.normal(size=(10, 3, 8, 8)).repeat(4, 2).repeat(4, 3)
    labels = rng.integers(10, size=count)
    moved = [np.roll(patterns[label], rng.integers(-4, 5, 2), (1, 2)) for label in labels]
    return np.clip(128 + np.array(moved) + 40 * rng.normal(size=(count, 3, 32, 32)), 0, 255).astype(np.uint8), labels


def lenet(folder: Path, **settings: Any) -> str:
    net = (LENET / "net.prototxt").read_text().replace("configs/lenet", str(LENET))
    (folder / "net.prototxt").write_text(net)
    return write_solver(folder, LENET, net=str(folder / "net.prototxt"), **settings)


def cifar10_quick(folder: Path, **settings: Any) -> str:
    net = (CIFAR / "net.prototxt").read_text().replace("examples/cifar10", str(folder))
    (folder / "net.prototxt").write_text(net.replace(f'mean_file: "{folder}/mean.binaryproto"', "mean_value: 128"))
    write_lmdb(folder / "cifar10_train_lmdb", *pictures(1010))
    return write_solver(folder, CIFAR, net=str(folder / "net.prototxt"), **settings)


@pytest.mark.slow
def test_divided_batches_give_the_run_of_one_process(tmp_path: Path) -> None:
    # In float32, rounding decides a few maxima and signs in some tens of iterations, as it does between two engines.
    runs: list[list[Any]] = []
    for config, settings in ((lenet, {}), (lenet, {"iter_size": 2, "clip_gradients": 0.5}), (cifar10_quick, {})):
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        runs.append([config(folder, **settings), "float64", 40, True, f"{folder}/"])
    together(2, trained, runs, timeout=600)
    together(1, train_alone, runs, timeout=600)  # with one thread, as each of the workers
    for *_, out in runs:
        for mine, other, one in zip(*(saved(f"{out}{name}.npz") for name in (0, 1, "alone")), strict=True):
            np.testing.assert_array_equal(mine, other)
            assert np.abs(mine - one).max() < 1e-12 * np.ptp(one)


@pytest.mark.slow
def test_two_workers_are_one_process_with_twice_the_passes(tmp_path: Path) -> None:
    """Both add up the same gradients of the same halves of each batch: equal bit for bit."""
    images, labels = pictures(640)
    images = images[:, :1, :28, :28]
    net = (LENET / "net.prototxt").read_text()
    orders = {"dealt": np.arange(640), "in_halves": np.arange(640).reshape(-1, 32, 2).swapaxes(1, 2)}
    paths = []
    for name, order in orders.items():
        folder = tmp_path / name
        folder.mkdir()
        write_lmdb(folder / "train_lmdb", images[order.ravel()], labels[order.ravel()])
        text = net.replace("configs/lenet/fashion_mnist_train_lmdb", str(folder / "train_lmdb"))
        (folder / "net.prototxt").write_text(text.replace("batch_size: 64", "batch_size: 32"))
        settings = {"iter_size": 2} if name == "in_halves" else {}
        paths.append(write_solver(folder, LENET, net=str(folder / "net.prototxt"), **settings))
    dealt, in_halves = ([path, "float32", 200, False, f"{tmp_path}/"] for path in paths)
    losses, same_losses = together(2, trained, [dealt], timeout=300)
    assert losses == same_losses
    together(1, train_alone, [in_halves], timeout=300)
    for mine, one in zip(saved(tmp_path / "0.npz"), saved(tmp_path / "alone.npz"), strict=True):
        np.testing.assert_array_equal(mine, one)


def golden(group: Any, engines: list[str]) -> list[Any]:
    """Follow the original's trajectory; return the losses, and the accuracies at its end on the first worker."""
    os.chdir(GOLDEN)
    found = []
    for engine in engines:
        solver = get_solver("solver.prototxt", engine=engine, split_batch=True)
        solver.net.copy_from("initial.caffemodel")
        solver.join(group)
        losses = []
        for _ in range(200):
            solver.step(1)
            losses.append(solver.smoothed_loss)
        (test_net,) = solver.test_nets
        solver.share_weights(test_net)
        accuracies = [float(test_net.forward()["accuracy"]) for _ in range(8)] if not group.rank else []
        solver.close()
        found.append([losses, accuracies])
    return found


@pytest.mark.slow
def test_two_workers_go_the_way_of_the_original() -> None:
    first, _ = together(2, golden, ["numpy", "torch"], timeout=300)
    wanted = np.load(GOLDEN / "trajectory.npz")
    for losses, accuracies in first:
        gap = np.abs(losses - wanted["loss"])
        assert gap[:20].max() < 5e-6
        assert gap.mean() < 1.5e-2
        assert np.mean(accuracies) == pytest.approx(wanted["test_accuracy"].mean(), abs=0.01)


NOISE = """
layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 6 } data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
"""
LEARNED = """
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "z"
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "z" top: "z" }
layer { name: "scale" type: "Scale" bottom: "z" top: "z" }
"""
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "y" top: "loss" }'


def new_solver(net: str, **settings: Any) -> SGDSolver:
    param = SolverParameter(base_lr=0.1, lr_policy="fixed", max_iter=3, snapshot_after_train=False, **settings)
    param.net_param.CopyFrom(parse_text(net, NetParameter).message)
    return get_solver(param, engine="numpy")


def odd(group: Any, prefix: str) -> list[Any]:
    """Train what is easily forgotten; return what the workers must have in common."""
    nothing_learned = new_solver(NOISE + LOSS % "x")
    nothing_learned.join(group)
    nothing_learned.step(3)

    # Running statistics, which differ between workers, are part of the norm.
    clipped = new_solver(NOISE + LEARNED + LOSS % "z", clip_weights=0.5)
    clipped.join(group)
    clipped.step(3)
    weights = [param.blob.data.tolist() for param in clipped.net.learnable_params if param.lr_mult]

    # The first worker is asked for a snapshot while it tests at the very end.
    asked = new_solver(NOISE + LEARNED + LOSS % "z", test_iter=[1], test_interval=3, snapshot_prefix=prefix)
    asked.join(group)
    wishes = [SolverAction.SNAPSHOT, SolverAction.NONE]
    if group.rank == 0:
        asked.requested_action = lambda: wishes.pop(0) if asked.iter == 3 and wishes else SolverAction.NONE
    asked.solve()

    differing = new_solver(NOISE + LEARNED + LOSS % "z", momentum=0.75 - group.rank / 2)
    with pytest.raises(WorkerError) as caught:
        differing.join(group)
    return [nothing_learned.smoothed_loss, weights, caught.value.what]


@pytest.mark.slow
def test_what_is_easily_forgotten(tmp_path: Path) -> None:
    prefix = str(tmp_path / "at")
    (*first, told), (*second, _) = together(2, odd, prefix)
    assert first == second
    assert told == "worker 1 works in another way than worker 0: there momentum: 0.25, here momentum: 0.75"
    assert (tmp_path / "at_iter_3.solverstate").exists()
