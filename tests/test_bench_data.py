"""tools/bench_data.py: it runs and reads the right data; its speed is not tested."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.databases.datum import decode_datum
from caffe_lite.data.databases.lmdb import LMDB
from caffe_lite.proto.caffe_pb2 import Datum
from tools.bench_data import make_databases, measure

pytest.importorskip("cv2")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    make_databases(folder, ["dummy", "raw", "png", "jpg"])
    return folder


def test_databases_hold_the_same_images(databases: Path) -> None:
    assert sorted(path.name for path in databases.iterdir()) == ["jpg", "png", "raw"]
    records = {side: list(LMDB(str(databases / side)).records()) for side in ("raw", "png", "jpg")}
    assert [Datum.FromString(rows[0][1]).encoded for rows in records.values()] == [False, True, True]
    for raw, png, jpg in zip(*records.values(), strict=True):
        assert raw[0] == png[0] == jpg[0]
        (image, label), (same, same_label), (near, near_label) = (decode_datum(value) for _, value in (raw, png, jpg))
        assert label == same_label == near_label
        assert (image == same).all()
        assert np.abs(image.astype(int) - near).mean() < 12


@pytest.mark.parametrize("side", ["dummy", "png"])
def test_an_iteration_is_measured(databases: Path, side: str) -> None:
    times = measure(side, databases, Namespace(engine="numpy", batch_size=2, iterations=3))
    assert times.clock > 0
    assert times.processor > 0


@pytest.mark.slow
def test_the_table() -> None:
    words = ["--engine=numpy", "--rounds=1", "--iterations=2", "--batch-size=2", "--sides=jpg"]
    script = str(ROOT / "tools" / "bench_data.py")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=300, check=True)
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows == ["data", ":----", "dummy", "jpg"]
