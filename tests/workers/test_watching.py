"""Workers that are gone, stopped, or done: what the others' watches do about it. A silence of 4 seconds is enough."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP and SIGKILL are POSIX's"),
]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, sys, time
from caffe_lite.errors import WorkerError
from caffe_lite.workers.environment import place_in
from caffe_lite.workers.group import Group
group = Group(place_in(os.environ))
print("joined", flush=True)
rank = group.rank
try:
    exec(sys.argv[1])
except WorkerError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print("done", file=sys.stderr)
"""


class Workers:
    """Processes that form a group, whose store rank 0 holds, and then run a piece of code."""

    def __init__(self, code: str, count: int = 2) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_PORT": str(port)}
        common |= {"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": str(ROOT), "TORCH_CPP_LOG_LEVEL": "ERROR"}
        common |= {"CAFFE_LITE_SILENCE": "5"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, code],
                env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        for process in self.processes:
            assert process.stdout and process.stdout.readline() == "joined\n"

    def send(self, rank: int, number: int) -> None:
        self.processes[rank].send_signal(number)

    def end(self, rank: int, seconds: float = 15) -> tuple[int, str]:
        """Return the status of a worker, and the last line of what it has said."""
        _, said = self.processes[rank].communicate(timeout=seconds)
        return self.processes[rank].returncode, (said.splitlines() or [""])[-1]


@pytest.fixture
def started() -> Iterator[list[Workers]]:
    found: list[Workers] = []
    yield found
    for workers in found:
        for process in workers.processes:
            process.kill()
            process.communicate()


def start(started: list[Workers], code: str, count: int = 2) -> Workers:
    started.append(Workers(code, count))
    return started[-1]


def test_a_stopped_worker_ends_the_others_whatever_they_do(started: list[Workers]) -> None:
    workers = start(started, "time.sleep(60) if rank != 2 else group.mean([1])", 3)
    workers.send(1, signal.SIGSTOP)
    said = "worker 1 has not been heard of for 5 seconds: it was stopped, or its machine cannot be reached"
    assert workers.end(0, 25) == (1, f"caffe-lite: worker 0: {said}")
    assert workers.end(2, 25) == (1, f"caffe-lite: worker 2: {said}")


def test_workers_that_were_all_stopped_go_on(started: list[Workers]) -> None:
    workers = start(started, "time.sleep(12); group.mean([1])")
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for rank in (0, 1):
            workers.send(rank, number)
        time.sleep(7 if number == signal.SIGSTOP else 0)
    assert [workers.end(rank, 40)[0] for rank in (0, 1)] == [0, 0]


def test_the_store_goes_with_its_worker(started: list[Workers]) -> None:
    workers = start(started, "time.sleep(60)")
    workers.send(0, signal.SIGKILL)
    status, said = workers.end(1)
    assert status == 1
    assert said.startswith("caffe-lite: worker 1: what joins the workers at 127.0.0.1:") and said.endswith(" is gone")


@pytest.mark.parametrize("rank", [1, 2])
def test_a_store_that_does_not_answer(started: list[Workers], rank: int) -> None:
    workers = start(started, "time.sleep(60)", 3)
    workers.send(0, signal.SIGSTOP)
    status, said = workers.end(rank, 25)
    assert status == 1
    assert said.endswith(" has not answered for 5 seconds")


def test_a_script_that_has_ended_leaves_the_others_alone(started: list[Workers]) -> None:
    workers = start(started, "time.sleep(10 if rank != 1 else 0)", 3)
    assert [workers.end(rank, 40) for rank in (1, 0, 2)] == [(0, "done")] * 3


def test_a_script_that_has_ended_and_is_waited_for(started: list[Workers]) -> None:
    workers = start(started, "time.sleep(1); rank and group.mean([1])")
    assert workers.end(0) == (0, "done")
    status, said = workers.end(1)
    assert status == 1
    assert "worker 1" in said


def test_all_wait_for_the_last_one_and_hear_of_its_error(started: list[Workers]) -> None:
    late = "time.sleep(3)\n        raise ValueError('my own trouble')"
    workers = start(started, f"with group:\n    if not rank:\n        {late}", 3)
    for rank in (1, 2):
        status, said = workers.end(rank)
        assert status == 1
        assert "worker 0, on " in said and "has failed: ValueError: my own trouble" in said
    status, said = workers.end(0)
    assert status == 1
    assert said.endswith("ValueError: my own trouble")


def test_a_clean_end(started: list[Workers]) -> None:
    workers = start(started, "with group:\n    time.sleep(rank)\n", 4)
    assert [workers.end(rank) for rank in range(4)] == [(0, "done")] * 4


# The watch is inside a store for a second from its start on; Python's end takes three.
INSIDE = """
import builtins, datetime
store = group._connect()
store.set_timeout(datetime.timedelta(seconds=1))
group._watch.failures.first = lambda: store.get("never")
time.sleep(0.7)
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3)
builtins.slow = Slow()
"""


def test_an_end_while_the_watch_is_inside_the_store(started: list[Workers]) -> None:
    workers = start(started, INSIDE)
    assert [workers.end(rank) for rank in range(2)] == [(0, "done")] * 2
