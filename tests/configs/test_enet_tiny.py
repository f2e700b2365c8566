"""ENetTiny: the command that makes its pictures, training on a few of them, and what it makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.prototxt import read_net, read_solver
from caffe_lite.solvers import get_solver

from .conftest import ROOT

FOLDER = ROOT / "configs" / "enet_tiny"
LEARNED, RUNNING = 30_496, 1_312  # parameters, and BN's running statistics
IMAGES = {"train": 20, "test": 20}

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data that tools/make_scenes.py makes."""
    folder = tmp_path_factory.mktemp("scenes")
    words = [str(folder), *(word for part, count in IMAGES.items() for word in (f"--{part}", str(count)))]
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_scenes.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    return folder


def net_on(scenes: Path, part: str | None = None) -> NetParameter:
    """Return the net with the data in this folder, or with one part of it in both phases."""
    param = read_net(FOLDER / "net.prototxt").message
    for layer in param.layer:
        p = layer.dense_image_data_param
        if layer.type == "DenseImageData":
            p.root_folder = f"{scenes.as_posix()}/"
            p.source = f"{scenes.as_posix()}/{part}.txt" if part else f"{scenes.as_posix()}/{Path(p.source).name}"
    return param


@pytest.mark.parametrize("part", list(IMAGES))
def test_the_data(scenes: Path, part: str) -> None:
    lines = (scenes / f"{part}.txt").read_text().splitlines()
    assert len(lines) == IMAGES[part]
    shares = []
    for line in lines:
        image, labels = (cv2.imread(str(scenes / name), cv2.IMREAD_UNCHANGED) for name in line.split())
        assert image.shape == (96, 96, 3) and labels.shape == (96, 96)
        assert labels.max() > 0
        shares.append(np.bincount(labels.ravel(), minlength=4) / labels.size)
    assert np.shape(shares)[1] == 4 and (np.mean(shares, 0) > 0.02).all()


def test_deploy() -> None:
    net = Net(FOLDER / "net.prototxt", TEST, stages=["deploy"])
    assert net.inputs == ["data"] and net.outputs == ["prob"]
    assert net.blobs["prob"].shape == (1, 4, 96, 96)
    counts = [(param.blob.count, param.lr_mult > 0) for param in net.learnable_params]
    assert sum(count for count, learns in counts if learns) == LEARNED
    assert sum(count for count, _ in counts) == LEARNED + RUNNING
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{LEARNED:,}" in readme and f"{RUNNING:,} running" in readme
    assert f"{sum(map(multiply_adds, net.nodes)):,} per image" in readme


def test_the_gradient_reaches_every_parameter(scenes: Path, engine: str) -> None:
    net = Net(net_on(scenes), TRAIN, engine=engine, seed=1)
    net.forward()
    net.backward()
    assert np.isfinite(net.blobs["loss"].data)
    for name, blobs in net.params.items():
        for blob in blobs[:2]:  # BN's other two are running statistics
            assert np.isfinite(blob.diff).all() and blob.diff.any(), name


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart(scenes: Path) -> None:
    solver = read_solver(FOLDER / "solver.prototxt").message
    solver.ClearField("net")
    solver.net_param.CopyFrom(net_on(scenes, "test"))
    solver.test_iter[:] = [1]
    solver.snapshot = solver.display = 0
    trained = get_solver(solver)
    trained.step(90)
    trained.test_nets[0].share_with(trained.net)
    trained.test_nets[0].forward()
    accuracy, _, overlap = trained.test_nets[0].blobs["accuracy"].data.ravel()
    assert accuracy > 0.9 and overlap > 0.6
