"""tools/bench_opencv.py: its cases are what their titles say, and the table shows the times; speed is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_opencv

    return bench_opencv


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOLS / "bench_opencv.py"), *options], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["detection_output", "roi_pooling", "psroi_pooling", "proposal", "multibox_loss"])
def test_a_case_computes_what_its_title_says(bench, name):
    param, inputs = bench.CASES[name].make()
    net = Net(param, TEST, engine="numpy")
    for blob, values in inputs.items():
        net.blobs[blob].data[...] = values
    y = net.forward()["y"]
    shapes = {"roi_pooling": (300, 512, 7, 7), "psroi_pooling": (300, 21, 7, 7), "proposal": (300, 5)}
    shapes |= {"detection_output": (1, 1, 200, 7), "multibox_loss": ()}
    assert (y.shape == shapes[name] and np.isfinite(y).all() and np.ptp(y) > 0) or y > 0


def test_the_table(bench):
    done = run("--cases", "proposal", "--sides", "numpy", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.splitlines()
    title, side, *times, limit, _, _ = (cell.strip() for cell in row.split("|")[1:-1])
    assert (title, side, limit) == (bench.CASES["proposal"].title, "numpy", "40")
    assert len(times) == 3 and all(float(time) > 0 for time in times)


def test_unknown_names():
    for option, known in (("--cases", "ssd300"), ("--sides", "numpy, torch, opencv")):
        done = run(option, "ssd30")
        assert done.returncode == 2 and "'ssd30'" in done.stderr and known in done.stderr
