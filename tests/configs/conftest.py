"""The pictures of shapes that the detectors in configs/ are trained on, a few of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.proto.prototxt import read_net, read_solver

ROOT = Path(__file__).parents[2]
IMAGES = {"train": 32, "test": 10}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data that tools/make_shapes.py makes."""
    pytest.importorskip("cv2")
    pytest.importorskip("lmdb")
    folder = tmp_path_factory.mktemp("shapes")
    words = [str(folder), *(word for part, count in IMAGES.items() for word in (f"--{part}", str(count)))]
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_shapes.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    return folder


def net_on(shapes: Path, name: str) -> NetParameter:
    """Return the net of a config with the data in this folder."""
    param = read_net(ROOT / "configs" / name / "net.prototxt").message
    for layer in param.layer:
        if layer.type == "AnnotatedData":
            layer.data_param.source = str(shapes / Path(layer.data_param.source).name)
    return param


def solver_on(shapes: Path, name: str) -> SolverParameter:
    """Return the solver of a config that trains on the pictures of the test, and writes nothing."""
    solver = read_solver(ROOT / "configs" / name / "solver.prototxt").message
    solver.ClearField("net")
    solver.net_param.CopyFrom(net_on(shapes, name))
    for layer in solver.net_param.layer:
        layer.data_param.source = layer.data_param.source.replace("train_lmdb", "test_lmdb")
    solver.snapshot = solver.display = 0
    return solver
