"""Training on two machines: over a cable, over one that is slow and loses packets, and until it is pulled out."""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.net.weights import read_weights
from tests.workers.machines import ADDRESSES, NAMES, TwoMachines, obstacle

ROOT = Path(__file__).resolve().parents[2]
OBSTACLE = obstacle()
# Of configs/lenet, with a short test before the first iteration; each worker of two reads 32 images for an iteration.
TRAIN = ["-m", "caffe_lite", "train", "configs/lenet/solver.prototxt", "--split-batch", "--engine", "torch"]
# The two ways of torchrun: one machine is the first, or all meet there and are given their ranks.
STATIC = ("--master-addr", NAMES[0], "--master-port", "29500")
ELASTIC = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{NAMES[0]}:29400", "--max-restarts", "2")

Processes = list[subprocess.Popen[str]]

pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))

ECHO = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.bind(({ADDRESSES[0]!r}, 7000))
    print("ready", socket.gethostname(), flush=True)
    while True:
        data, sender = echo.recvfrom(2000)
        echo.sendto(data, sender)
"""
ASK = f"""
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(0.3)
    for number in range(int(sys.argv[1])):
        sent = time.perf_counter()
        asking.sendto(bytes(1400), ({ADDRESSES[0]!r}, 7000))
        try:
            asking.recvfrom(2000)
            print(time.perf_counter() - sent, flush=True)
        except TimeoutError:
            pass
"""


def echoes(two: TwoMachines, count: int) -> list[float]:
    """Return the seconds that each echo of so many packets has taken; those that were lost are missing."""
    asking = two.machines[1].start([sys.executable, "-c", ASK, str(count)], stdout=subprocess.PIPE)
    return [float(line) for line in asking.communicate(timeout=60)[0].splitlines()]


def test_cable():
    with TwoMachines(delay=0.005, loss=0.1) as two:
        echo = two.machines[0].start([sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
        assert echo.stdout is not None
        with echo.stdout:
            assert echo.stdout.readline().split() == ["ready", NAMES[0]]
        took = echoes(two, 60)
        assert min(took) >= 0.010 and statistics.median(took) < 0.1
        assert len(took) == 60 - two.cable.lost < 60
        two.cable.pulled = True
        assert echoes(two, 2) == []
        two.cable.pulled = False
        two.cable.loss = 0.0
        assert len(echoes(two, 5)) == 5
    assert socket.gethostname() != NAMES[0]


def test_machines_end_with_everything_on_them():
    """Also what runs in a session of its own, as a launcher's workers do."""
    detaching = "import subprocess as s; print(s.Popen(['sleep', '100'], start_new_session=True, stdout=-3).pid)"
    with TwoMachines() as two:
        starter = two.machines[0].start([sys.executable, "-c", detaching], stdout=subprocess.PIPE)
        sleeping = Path("/proc", starter.communicate(timeout=30)[0].strip())
        assert sleeping.exists()
    deadline = time.monotonic() + 10
    while sleeping.exists() and (sleeping / "stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def words(prefix: Path, iterations: int, *more: str) -> list[str]:
    settings = ("--test-iter", "1", "--test-interval", "1000")
    return [*TRAIN, "--max-iter", str(iterations), "--snapshot-prefix", str(prefix), *settings, *more]


def start(
    two: TwoMachines, prefix: Path, iterations: int, *more: str, torchrun: Sequence[str] = STATIC, **variables: str
) -> Processes:
    """Start the training with one worker on each machine."""
    launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *torchrun]
    return [
        machine.start(
            [sys.executable, *launcher, "--node-rank", str(rank), *words(prefix, iterations, *more)],
            env=environment() | variables,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank, machine in enumerate(two.machines)
    ]


def train(*words: str) -> None:
    done = subprocess.run([sys.executable, *words], env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def weights(prefix: Path, iterations: int) -> np.ndarray:
    layers = read_weights(f"{prefix}_iter_{iterations}.caffemodel")
    return np.concatenate([blob.ravel() for layer in layers for blob in layer.blobs if blob is not None])


def outputs(processes: Processes, timeout: float) -> list[str]:
    """Wait for all, and return what each has written."""
    with ThreadPoolExecutor() as readers:
        return list(readers.map(lambda process: process.communicate(timeout=timeout)[0], processes))


@pytest.mark.slow
def test_training(tmp_path):
    iterations = 10
    prefixes = [tmp_path / name for name in ("two", "one", "alone")]
    with TwoMachines() as two:
        processes = start(two, prefixes[0], iterations)
        logs = outputs(processes, 100)
        assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
    train(*words(prefixes[1], iterations, "--workers", "2"))
    train(*words(prefixes[2], iterations))
    machines, workers, alone = (weights(prefix, iterations) for prefix in prefixes)
    assert np.array_equal(machines, workers)
    np.testing.assert_allclose(machines, alone, atol=1e-5 * np.ptp(alone), rtol=0)


def await_iteration(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    log = []
    for line in process.stdout:
        log.append(line)
        if f"Iteration {number} " in line:
            return
    raise AssertionError("".join(log))


@pytest.mark.slow
def test_bad_cable(tmp_path):
    """It is slow, loses packets, and is out for a while."""
    iterations = 6
    with TwoMachines(delay=0.01, loss=0.01) as two:
        processes = start(two, tmp_path / "two", iterations, "--display", "1")
        await_iteration(processes[0], 2)
        two.cable.pulled = True
        time.sleep(2)
        two.cable.pulled = False
        logs = outputs(processes, 100)
        assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
        assert two.cable.lost > 20
    train(*words(tmp_path / "one", iterations, "--workers", "2"))
    assert np.array_equal(weights(tmp_path / "two", iterations), weights(tmp_path / "one", iterations))


@pytest.mark.slow
def test_pulled_cable(tmp_path):
    """Each side notices by itself, for neither can tell the other."""
    with TwoMachines() as two:
        processes = start(two, tmp_path / "two", 100_000, "--display", "1", CAFFE_LITE_SILENCE="8")
        await_iteration(processes[0], 5)
        two.cable.pulled = True
        pulled = time.monotonic()
        logs = outputs(processes, 60)
        assert time.monotonic() - pulled < 25
        assert [process.returncode for process in processes] == [1, 1]
    messages = [[line for line in log.splitlines() if line.startswith("caffe-lite: ")] for log in logs]
    assert [len(found) for found in messages] == [1, 1]
    assert "worker 0: worker 1 has not been heard of for 8 seconds" in messages[0][0]
    assert f"worker 1: what joins the workers at {NAMES[0]}:29500 has not answered for 8 seconds" in messages[1][0]


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [(*STATIC, "--max-restarts", "2"), ELASTIC], ids=["static", "elastic"])
def test_restart(tmp_path: Path, torchrun: Sequence[str]) -> None:
    """Each machine counts restarts by itself, and an elastic torchrun only those for a failure of its own."""
    with TwoMachines() as two:
        more = ("--display", "1", "--set", "snapshot=5")
        processes = start(two, tmp_path / "two", 60, *more, torchrun=torchrun)
        await_iteration(processes[0], 12)
        os.kill(two.machines[1].worker(), signal.SIGKILL)
        began = time.monotonic()
        logs = outputs(processes, 100)
        assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
        assert time.monotonic() - began < 60
        assert re.search(r"Resuming from .*two_iter_(?!5\.)\d+\.solverstate", "".join(logs))
