"""Workers as processes: whatever ends one of them ends all soon, and the last line tells why, once."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caffe_lite.proto.caffe_pb2 import NetParameter
from tests.cli.conftest import NET, SOLVER, command, environment

pytest.importorskip("torch")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

# A layer that does as its param_str says in the worker of this rank, and passes its bottom on.
LAYER = """
import os
import time

import caffe

WHAT, RANK, BEGIN = {what!r}, {rank!r}, {begin!r}


class Trouble(caffe.Layer):
    def setup(self, bottom, top):
        self.passes = 0
        if BEGIN < 0:
            self.act()

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
        if self.passes == BEGIN:
            self.act()
        self.passes += 1

    def backward(self, top, propagate_down, bottom):
        pass

    def act(self):
        if caffe.solver_rank() == int(RANK):
            exec(WHAT)
"""
MEETING = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
LAYER_IN_NET = """
layer { name: "trouble" type: "Python" bottom: "data" top: "same" %s
  python_param { module: "trouble" layer: "Trouble" } }
"""


class Run:
    """A run of caffe-lite train in a folder, and its workers."""

    def __init__(
        self, folder: Path, *words: str, workers: int = 2, torchrun: tuple[str, ...] = (), **more: str
    ) -> None:
        self.err = folder / "stderr"
        self.out = folder / "stdout"
        line = command(*words, "--workers", str(workers))
        if torchrun:
            start = [sys.executable, "-m", "torch.distributed.run", "--standalone", *torchrun]
            line = [*start, "--nproc-per-node", str(workers), "-m", "caffe_lite", *words]
        with open(self.err, "wb") as err, open(self.out, "wb") as out:
            self.process = subprocess.Popen(line, cwd=folder, env=environment() | more, stdout=out, stderr=err)
        self.started: dict[int, int] = {}

    def workers(self) -> dict[int, int]:
        """Return the process ids of the workers that run, by rank."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                words = (folder / "cmdline").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            mark = f"CAFFE_LITE_LAUNCHER={self.process.pid}".encode()
            if mark in variables and b"caffe_lite" in words and state != "Z":
                found.update({int(v[5:]): int(folder.name) for v in variables if v.startswith(b"RANK=")})
        self.started |= found
        return found

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def until_logged(self, text: str) -> None:
        self.until(lambda: text in self.said)

    def until_started(self, count: int = 2) -> dict[int, int]:
        self.until(lambda: len(self.workers()) == count)
        return self.started

    def end(self, seconds: float = 60) -> int:
        status = self.process.wait(seconds)
        assert not self.workers()
        return status

    @property
    def said(self) -> str:
        return self.err.read_text()

    @property
    def last(self) -> str:
        """The last line; no other is an error for the user."""
        lines = self.said.splitlines()
        assert [line for line in lines if line.startswith("caffe-lite: ")] == lines[-1:], self.said
        return lines[-1]


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., Run]]:
    """Return what starts a run in the folder; whatever is left of it is killed in the end."""
    runs: list[Run] = []

    def start(*words: str, **more) -> Run:
        runs.append(Run(folder, *(words or ("train", "solver.prototxt")), **more))
        return runs[-1]

    yield start
    for one in runs:
        left = one.workers() if sys.platform == "linux" else {}
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        for pid in left.values():
            os.kill(pid, signal.SIGKILL)


def trouble(folder: Path, what: str, rank: int = 1, begin: int = 5, phase: str = "TRAIN") -> None:
    """Add a layer to the net that does something in one worker, in its pass number ``begin`` or in setup (-1)."""
    (folder / "trouble.py").write_text(LAYER.format(what=what, rank=str(rank), begin=begin))
    (folder / "net.prototxt").write_text(NET + LAYER_IN_NET % f"include {{ phase: {phase} }}")


def long_training(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(SOLVER.replace("max_iter: 20", "max_iter: 1000000"))


def test_a_run(run: Callable[..., Run], folder: Path) -> None:
    one = run()
    assert one.end() == 0, one.said
    assert "Finished after 20 iterations." in one.out.read_text()
    assert len(re.findall("Optimization Done", one.said)) == 2  # the solver's and the command's, of one worker
    assert (folder / "stripes_iter_20.solverstate").exists()


def test_the_same_error_of_all_is_told_once_without_a_number(run: Callable[..., Run], folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace('"ReLU"', '"RuLU"'))
    one = run()
    assert one.end() == 1
    assert one.last.startswith("caffe-lite: net.prototxt:")
    assert "RuLU" in one.last


@pytest.mark.parametrize(("rank", "begin"), [pytest.param(0, -1, marks=pytest.mark.slow), (1, 5)])
def test_an_exception_in_one_worker(run: Callable[..., Run], folder: Path, rank: int, begin: int) -> None:
    trouble(folder, "raise ValueError('my own trouble')", rank, begin)
    one = run()
    assert one.end() == 1
    assert one.last.startswith(f"caffe-lite: worker {rank}: ")
    assert "my own trouble" in one.last
    assert one.said.count("my own trouble") <= 2  # in the traceback, too


# -- killed --------------------------------------------------------------------------------------------------------

WAIT = "time.sleep(1000)"


def check_killed(one: Run, rank: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(one.started[rank], number)
    then = time.monotonic()
    assert one.end() == 1, one.said
    assert time.monotonic() - then < 30
    assert one.last.startswith(f"caffe-lite: worker {rank} was killed by {number.name}"), one.said
    assert ("memory" in one.last) == (number == signal.SIGKILL)


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize(("rank", "delay"), [(1, 0.0), (0, 1.5), (1, 3.0)])
def test_killed_on_its_way(run: Callable[..., Run], folder: Path, rank: int, delay: float) -> None:
    long_training(folder)
    one = run()
    one.until_started()
    time.sleep(delay * random.random())
    check_killed(one, rank)


@on_linux
@pytest.mark.parametrize(
    ("rank", "number"),
    [
        (1, signal.SIGKILL),
        pytest.param(0, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGSEGV, marks=pytest.mark.slow),
    ],
)
def test_killed_while_training(run: Callable[..., Run], folder: Path, rank: int, number: signal.Signals) -> None:
    long_training(folder)
    one = run()
    one.until_logged("Iteration 10,")
    one.workers()
    check_killed(one, rank, number)


@on_linux
@pytest.mark.slow
def test_killed_while_rank_0_tests(run: Callable[..., Run], folder: Path) -> None:
    trouble(folder, WAIT, rank=0, begin=0, phase="TEST")
    one = run()
    one.until_logged("Testing net (#0)")
    one.workers()
    check_killed(one, 1)


@on_linux
@pytest.mark.slow
def test_killed_while_snapshots_are_taken(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run("train", "solver.prototxt", "--set", "snapshot=1")
    one.until_logged("Snapshotting")
    time.sleep(random.random())
    one.workers()
    check_killed(one, 0)
    parts = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    assert len(parts) <= 1, parts  # what was being written; the next run removes it


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("status", [7, 0])
def test_a_worker_that_ends_by_itself(run: Callable[..., Run], folder: Path, status: int) -> None:
    trouble(folder, f"os._exit({status})")
    one = run()
    assert one.end() == 1
    assert one.last == f"caffe-lite: worker 1 has ended with status {status} and without a message."


@on_linux
@pytest.mark.slow
def test_a_worker_that_is_stopped(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run(CAFFE_LITE_SILENCE="8")
    one.until_logged("Iteration 10,")
    os.kill(one.workers()[0], signal.SIGSTOP)
    then = time.monotonic()
    assert one.end() == 1
    assert 6 < time.monotonic() - then < 20
    assert one.last.startswith("caffe-lite: worker 0 has not been heard of for 8 seconds")


@on_linux
@pytest.mark.slow
def test_the_launcher_killed(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run()
    one.until_logged("Iteration 10,")
    pids = one.workers()
    one.process.kill()
    one.process.wait()
    end = time.monotonic() + 30
    while one.workers():
        assert time.monotonic() < end, (pids, one.said)
        time.sleep(0.1)
    # One of them finds that the store has gone with it, and the other perhaps that this one has.
    assert re.search(
        r"^caffe-lite: worker \d: the caffe-lite that has started the workers is gone", one.said, re.MULTILINE
    )


@on_linux
@pytest.mark.slow
def test_more_workers(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run(workers=4)
    one.until_logged("Iteration 10,")
    one.workers()
    check_killed(one, 2)


# -- signals -------------------------------------------------------------------------------------------------------


@on_linux
def test_ctrl_c_stops_with_a_snapshot(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run()
    one.until_logged("Iteration 10,")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0, one.said
    assert "Optimization stopped early." in one.said
    assert "Stopped after" in one.out.read_text()
    iteration = int(re.findall(r"Stopped after (\d+)", one.out.read_text())[0])
    assert (folder / f"stripes_iter_{iteration}.solverstate").exists()


@pytest.mark.slow
@on_linux
def test_ctrl_c_twice_ends_what_does_not_answer(run: Callable[..., Run], folder: Path) -> None:
    trouble(folder, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nopen('there', 'w')\n" + WAIT, begin=5)
    one = run()
    one.until((folder / "there").exists)
    one.process.send_signal(signal.SIGINT)
    time.sleep(1)
    one.process.send_signal(signal.SIGINT)
    assert one.end(20) == 130
    assert "caffe-lite: " not in one.said


@pytest.mark.slow
@on_linux
def test_ctrl_c_before_training(run: Callable[..., Run], folder: Path) -> None:
    trouble(folder, "open('there', 'w')\n" + WAIT, begin=-1)
    one = run()
    one.until((folder / "there").exists)
    one.process.send_signal(signal.SIGINT)
    assert one.end(20) == 130
    assert "caffe-lite: " not in one.said


@on_linux
@pytest.mark.slow
def test_sigint_to_one_worker_stops_all(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run()
    one.until_logged("Iteration 10,")
    os.kill(one.workers()[1], signal.SIGINT)
    assert one.end() == 0, one.said
    assert "Stopped after" in one.out.read_text()


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("to", ["launcher", 1])
def test_sighup_takes_one_snapshot(run: Callable[..., Run], folder: Path, to: str | int) -> None:
    long_training(folder)
    one = run("train", "solver.prototxt", "--set", "snapshot=0", "--sigint-effect", "stop")
    one.until_logged("Iteration 10,")
    os.kill(one.process.pid if to == "launcher" else one.workers()[int(to)], signal.SIGHUP)
    one.until_logged("Snapshotting solver state")
    then = len(one.said)
    one.until(lambda: "Iteration" in one.said[then:])  # it goes on
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0, one.said
    assert one.said.count("Snapshotting solver state") == 2


@pytest.mark.slow
@on_linux
def test_sigterm_ends_all(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run()
    one.until_logged("Iteration 10,")
    one.process.terminate()
    assert one.end(20) == 143
    assert "caffe-lite: " not in one.said


@on_linux
@pytest.mark.slow
def test_ctrl_z_stops_all_for_as_long_as_one_likes(run: Callable[..., Run], folder: Path) -> None:
    long_training(folder)
    one = run(CAFFE_LITE_SILENCE="5")
    one.until_logged("Iteration 10,")
    one.process.send_signal(signal.SIGTSTP)
    time.sleep(1)
    before = one.said
    time.sleep(9)
    assert one.said == before
    one.process.send_signal(signal.SIGCONT)
    time.sleep(4)
    assert one.said != before
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0, one.said


# -- other launchers ---------------------------------------------------------------------------------------------------

PLAIN = ("--max-restarts", "0")


def weights(path: Path) -> dict[str, list[float]]:
    layers = NetParameter.FromString(path.read_bytes()).layer
    return {layer.name: [value for blob in layer.blobs for value in blob.data] for layer in layers if layer.blobs}


@pytest.mark.slow
def test_under_torchrun_the_cause_is_told_by_all(run: Callable[..., Run], folder: Path) -> None:
    trouble(folder, "raise ValueError('my own trouble')", 1)
    one = run(torchrun=PLAIN)
    assert one.end() == 1
    told = [line for line in one.said.splitlines() if line.startswith("caffe-lite: ")]
    assert len(told) == 2, one.said
    assert told[0].startswith("caffe-lite: worker 1: ValueError: my own trouble (net.prototxt:")
    assert re.match(r"caffe-lite: worker 0: worker 1, on .*, has failed: ValueError: my own tr", told[1])
    cause = one.said.partition("Root Cause")[2]
    assert "rank      : 1 " in cause and "ValueError: my own trouble" in cause


@pytest.mark.slow
def test_under_torchrun_one_worker_is_a_group(run: Callable[..., Run], folder: Path) -> None:
    one = run(torchrun=PLAIN, workers=1)
    assert one.end() == 0, one.said
    assert "Finished after 20 iterations." in one.out.read_text()


@pytest.mark.slow
def test_restarted_by_torchrun_it_goes_on_from_its_last_snapshot(run: Callable[..., Run], folder: Path) -> None:
    whole = run("train", "solver.prototxt", "--max-iter", "40", torchrun=PLAIN)
    assert whole.end() == 0, whole.said
    trained = weights(folder / "stripes_iter_40.caffemodel")
    for file in folder.glob("stripes_iter_[124]0.*"):  # 30 stays: it is of another run
        file.unlink()
    end = "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0': raise ValueError('my own trouble')"
    trouble(folder, end, begin=25)
    one = run("train", "solver.prototxt", "--max-iter", "40", torchrun=("--max-restarts", "1"))
    assert one.end() == 0, one.said
    assert re.findall(r"Resuming from .*(stripes.*)", one.said) == ["stripes_iter_20.solverstate"]
    assert weights(folder / "stripes_iter_40.caffemodel") == trained


@pytest.mark.slow
@pytest.mark.parametrize("ends", [0, 1])
def test_rank_0_may_hold_the_store(folder: Path, ends: int) -> None:
    """Tasks of Slurm meet at rank 0, which must not go before the others have learned what has failed."""
    if ends:
        trouble(folder, "raise ValueError('my own trouble')", rank=0)
    step = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "3",
    }
    tasks = [
        subprocess.Popen(
            command("train", "solver.prototxt"),
            cwd=folder,
            env=environment() | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    try:
        said = [task.communicate(timeout=100) for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    assert [task.returncode for task in tasks] == [ends] * 3, said
    if ends:
        assert said[0][1].splitlines()[-1].startswith("caffe-lite: worker 0: ValueError: my own trouble")
        for rank in (1, 2):
            end = said[rank][1].splitlines()[-1]
            assert re.match(rf"caffe-lite: worker {rank}: worker 0, on .*, has failed: ValueError: my own", end), end
    else:
        assert ["Finished" in out for out, _ in said] == [True, False, False]


# -- logs and options --------------------------------------------------------------------------------------------------


def test_warnings_are_told_once_and_others_with_the_number(run: Callable[..., Run], folder: Path) -> None:
    warn = "import logging; logging.getLogger('caffe_lite').warning('%s')"
    everywhere = warn % "of all" + ";"
    layer = LAYER.format(what=warn % "of one", rank="1", begin=-1).replace(
        "self.passes = 0", everywhere + "self.passes=0"
    )
    (folder / "trouble.py").write_text(layer)
    (folder / "net.prototxt").write_text(NET + LAYER_IN_NET % "include { phase: TRAIN }")
    one = run()
    assert one.end() == 0, one.said
    warnings = [line for line in one.said.splitlines() if line.startswith("W") and "] " in line]
    assert [line for line in warnings if "of all" in line] == [w for w in warnings if w.endswith("] of all")]
    assert len([line for line in warnings if "of all" in line]) == 1
    assert [line.partition("] ")[2] for line in warnings if "of one" in line] == ["[worker 1] of one"]


@pytest.mark.slow
def test_warnings_before_an_error_are_not_lost(run: Callable[..., Run], folder: Path) -> None:
    warn = "import logging; logging.getLogger('caffe_lite').warning('of one')"
    trouble(folder, warn + "\nraise ValueError('my own trouble')", begin=-1)
    one = run()
    assert one.end() == 1
    assert one.last.startswith("caffe-lite: worker 1: ValueError: my own trouble")
    assert len(re.findall(r"\] \[worker 1\] of one$", one.said, re.MULTILINE)) == 1, one.said


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (("--gpu", "0,0"), {}, r"names a GPU twice"),
        (("--gpu", "0,99"), {}, r"there is no GPU"),
        (("--gpu", "0,1", "--workers", "3"), {}, r"--workers 3, but --gpu 0,1 names 2"),
        (("--workers", "0"), {}, r"--workers.*'0' is not a whole number of at least 1"),
        (("--workers", "2"), {"RANK": "0", "WORLD_SIZE": "3"}, r"MASTER_ADDR is not set"),
        (
            ("--workers", "2"),
            {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            r"--workers 2, but torchrun has started 3",
        ),
        (
            ("--gpu", "2"),
            *({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", **MEETING},),
            r"--gpu 2 is too little for the 2 workers on this machine",
        ),
    ],
)
def test_options_that_cannot_be(folder: Path, words: tuple[str, ...], variables: dict[str, str], message: str) -> None:
    done = subprocess.run(
        command("train", "solver.prototxt", *words),
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (1, 2)
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr


def test_a_full_disk(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    done = subprocess.run(
        command("train", "solver.prototxt", "--workers", "2"),
        cwd=folder,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("caffe-lite: ")]
    assert told == done.stderr.splitlines()[-1:], done.stderr
    assert told[0].startswith("caffe-lite: worker 0: stripes_iter_10."), told
    assert "cannot write this file: File too large." in told[0]
    assert not list(folder.glob(".*.tmp"))
