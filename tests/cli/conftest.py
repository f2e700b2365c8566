"""Fixtures for the command line: real processes, in a folder with a small net, its solver and its databases."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.proto.caffe_pb2 import Datum

ROOT = Path(__file__).resolve().parents[2]

NET = """\
name: "Stripes"
layer {
  name: "images" type: "Data" top: "data" top: "label"
  include { phase: TRAIN }
  transform_param { scale: 0.00390625 }
  data_param { source: "train_lmdb" backend: LMDB batch_size: 8 }
}
layer {
  name: "images" type: "Data" top: "data" top: "label"
  include { phase: TEST }
  transform_param { scale: 0.00390625 }
  data_param { source: "test_lmdb" backend: LMDB batch_size: 10 }
}
layer {
  name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1"
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer {
  name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""

SOLVER = """\
net: "net.prototxt"
base_lr: 0.1
lr_policy: "fixed"
momentum: 0.9
max_iter: 20
display: 10
test_iter: 2
test_interval: 10
snapshot: 10
snapshot_prefix: "stripes"
solver_mode: CPU
random_seed: 7
"""


def write_lmdb(path: Path, labels: list[int]) -> None:
    """Write images of 3 x 4 pixels whose row number ``label % 3`` is bright."""
    lmdb = pytest.importorskip("lmdb")
    rng = np.random.default_rng(0)
    with lmdb.open(str(path), map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for index, label in enumerate(labels):
            image = rng.integers(0, 60, (1, 3, 4), dtype=np.uint8)
            image[0, label % 3] += 190
            datum = Datum(channels=1, height=3, width=4, data=image.tobytes(), label=label)
            transaction.put(f"{index:08d}".encode(), datum.SerializeToString())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with ``net.prototxt``, ``solver.prototxt``, ``train_lmdb`` (24 images) and ``test_lmdb`` (20)."""
    write_lmdb(tmp_path / "train_lmdb", [index % 3 for index in range(24)])
    write_lmdb(tmp_path / "test_lmdb", [index % 3 for index in range(20)])
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def environment() -> dict[str, str]:
    """Return our environment without variables that change the tool's behaviour; any folder finds the package.

    The engine is the one that starts fastest; tests of engines name their own.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CAFFE_LITE", "GLOG"))}
    return inherited | {"PYTHONPATH": str(ROOT), "CAFFE_LITE_ENGINE": "numpy"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "caffe_lite", *arguments]


@pytest.fixture
def caffe(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``caffe-lite ARGUMENTS...`` in ``folder`` to completion."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        if " and is not installed" in done.stderr:
            pytest.skip(done.stderr)
        return done

    return run
