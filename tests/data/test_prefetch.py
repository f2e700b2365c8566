"""The background thread: its results, its errors, and that it always ends."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from caffe_lite.data.prefetch import Prefetcher


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "caffe_lite prefetch"]


def soon(condition: Callable[[], bool]) -> bool:
    """Return whether the condition becomes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_results_come_in_order_and_no_more_than_depth_ahead() -> None:
    made = itertools.count()
    produced: list[int] = []

    def produce() -> int:
        produced.append(next(made))
        return produced[-1]

    prefetcher = Prefetcher(produce, 3)
    assert soon(lambda: len(produced) == 3)
    assert [prefetcher.get() for _ in range(50)] == list(range(50))
    assert soon(lambda: len(produced) == 53)
    time.sleep(0.05)
    assert len(produced) == 53
    prefetcher.close()


def test_once_ahead_it_rests_until_half_of_the_results_are_taken() -> None:
    made = itertools.count()
    produced: list[int] = []
    prefetcher = Prefetcher(lambda: produced.append(next(made)), 4)
    for taken in (0, 2, 4):
        assert soon(lambda taken=taken: len(produced) == taken + 4)
        prefetcher.get()
        time.sleep(0.05)
        assert len(produced) == taken + 4
        prefetcher.get()
    prefetcher.close()


def test_an_error_comes_out_where_its_result_would_have() -> None:
    steps = iter([1, 2])
    prefetcher = Prefetcher(lambda: next(steps), 4)
    assert soon(lambda: not threads())
    assert [prefetcher.get(), prefetcher.get()] == [1, 2]
    for _ in range(2):
        with pytest.raises(StopIteration):
            prefetcher.get()
    prefetcher.close()


def test_close_ends_the_thread_and_may_be_called_again() -> None:
    prefetcher = Prefetcher(int, 2)
    assert prefetcher.get() == 0
    assert len(threads()) == 1
    prefetcher.close()
    assert not threads()
    prefetcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        [prefetcher.get() for _ in range(3)]


def test_the_thread_ends_when_nobody_holds_the_prefetcher() -> None:
    prefetcher = Prefetcher(int, 2)
    assert prefetcher.get() == 0
    del prefetcher
    gc.collect()
    assert soon(lambda: not threads())


def test_a_process_ends_though_a_thread_is_at_work() -> None:
    script = (
        "import time\n"
        "from caffe_lite.data.prefetch import Prefetcher\n"
        "p = Prefetcher(lambda: time.sleep(0.01) or [i * i for i in range(1000)], 4)\n"
        "q = Prefetcher(int, 1)\n"
        "p.get()\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
