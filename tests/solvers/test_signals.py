from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caffe_lite.solvers import SignalHandler, SolverAction

posix = pytest.mark.skipif(os.name != "posix", reason="Windows cannot send these signals")

TRAIN = """
import sys
from google.protobuf import text_format
from caffe_lite.proto.caffe_pb2 import SolverParameter
from caffe_lite.solvers import SignalHandler, get_solver

param = text_format.Parse('''
    net_param { layer { name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param { shape { dim: 4 dim: 3 } } }
                layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
                layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" } }
    base_lr: 0.01 lr_policy: "fixed" max_iter: 100000000 snapshot_prefix: "s"''', SolverParameter())
solver = get_solver(param)
solver.on_iteration.append(lambda s: s.iter == 10 and print("ready", flush=True))
with SignalHandler(*sys.argv[1:]) as signals:
    solver.requested_action = signals.requested_action
    solver.solve()
print("ended in", solver.iter)
"""


@contextmanager
def training(folder: Path, *effects: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, *effects],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate(timeout=20)[1]
            yield process
        finally:
            process.kill()


def wait_for_state(folder: Path) -> Path:
    for _ in range(400):
        if found := list(folder.glob("*.solverstate")):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no snapshot")


@posix
def test_sigint_stops_with_a_snapshot_that_resumes(tmp_path: Path) -> None:
    with training(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    iteration = int(out.split()[-1])
    assert iteration >= 10
    assert {path.name for path in tmp_path.iterdir()} == {
        f"s_iter_{iteration}.caffemodel",
        f"s_iter_{iteration}.solverstate",
    }


@posix
def test_sighup_takes_a_snapshot_and_training_goes_on(tmp_path: Path) -> None:
    with training(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        wait_for_state(tmp_path)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert len(list(tmp_path.glob("*.solverstate"))) == 2


@posix
def test_effects_can_be_exchanged_and_taken_away(tmp_path: Path) -> None:
    with training(tmp_path, "snapshot", "none") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        wait_for_state(tmp_path)
        assert process.poll() is None, process.communicate(timeout=20)[1]


@posix
def test_a_signal_is_told_once_and_a_second_sigint_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with SignalHandler() as signals:
        assert signals.requested_action() is SolverAction.NONE
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        asked = {signals.requested_action(), signals.requested_action()}
        assert asked == {SolverAction.STOP, SolverAction.SNAPSHOT}
        assert signals.requested_action() is SolverAction.NONE
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_effects_have_names() -> None:
    with pytest.raises(ValueError, match="explode"):
        SignalHandler("explode")
