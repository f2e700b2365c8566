"""Freed memory must be used again: training neither grows its memory nor maps it again in every iteration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

TRAIN = """
from statistics import median
import resource, threading
import numpy as np
from caffe_lite.ops import get_ops
from caffe_lite.ops.memory import recycle_freed_memory

ops = get_ops("numpy")
recycled = recycle_freed_memory()

def iterate(batch=32):
    x = np.ones((batch, 8, 32, 32), np.float32)
    weight = np.ones((16, 8, 5, 5), np.float32)
    where = ((1, 1), (2, 2), (1, 1), 1)
    y = ops.convolution(x, weight, None, *where)
    ops.convolution_backward(y, x, weight, *where, (True, True, True))

def faults(times, run):
    counts = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        run()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return median(counts)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def long_in_a_thread():
    # More than the 64 MB that glibc gives a thread at a time.
    large = lambda: iterate(256)
    faults(5, large)
    found.append(faults(5, large))

def in_a_thread():
    thread = threading.Thread(target=iterate)
    thread.start()
    thread.join()

faults(5, iterate), faults(5, in_a_thread)
warm = peak()
found = [faults(20, iterate), faults(20, in_a_thread), peak() - warm]
thread = threading.Thread(target=long_in_a_thread)
thread.start()
thread.join()
print(recycled, *found, sep="\\n")
"""


# Eight threads call C's malloc, with more blocks than a thread caches.
HOST = """
#include <pthread.h>
#include <stdlib.h>

static void *churn(void *seed) {
    static __thread void *live[4096];
    unsigned s = (unsigned)(size_t)seed;
    for (long i = 0; i < 300000; i++) {
        s = s * 1664525u + 1013904223u;
        void **block = &live[(s >> 8) % 4096];
        free(*block);
        *block = malloc(16 + (s >> 12) % 2000);
    }
    for (int i = 0; i < 4096; i++) free(live[i]);
    return 0;
}

void churn_in_eight_threads(void) {
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) pthread_create(&threads[i], 0, churn, (void *)(i + 1));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
}
"""

WAITS = """
import ctypes, resource, sys
churn = ctypes.CDLL(sys.argv[1]).churn_in_eight_threads
if sys.argv[2] == "net":
    from caffe_lite.ops import get_ops
    get_ops("numpy")
if sys.argv[2] == "one heap":
    ctypes.CDLL(None).mallopt(-8, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before)
"""

SWITCHED = """
import logging, os, resource, sys
import numpy as np
import caffe_lite as caffe
from caffe_lite.ops import get_ops
logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(3 << 20, np.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10
"""

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="counts page faults and waits; only glibc's allocator is told anything"
)


def run(script: str, *words: str, **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAFFE_LITE")}
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, env={**kept, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def kept_or_skip(recycled: str) -> None:
    if recycled != "True":
        pytest.skip("this C library cannot be told to keep freed memory")


@on_linux
def test_an_iteration_uses_the_memory_of_the_one_before() -> None:
    recycled, faults, faults_in_a_thread, growth, faults_of_a_large_one = run(TRAIN)
    kept_or_skip(recycled)
    # Its arrays cover about 6,000 pages.
    assert float(faults) < 100
    assert float(faults_in_a_thread) < 100
    # One thread in a while is given another of the C library's arenas, and fills that: some 14 MB, once.
    assert int(growth) < 32768, "kilobytes"
    # These cover eight times as many.
    assert float(faults_of_a_large_one) < 100


@on_linux
def test_other_threads_do_not_wait_for_each_other(tmp_path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    kept_or_skip(run("from caffe_lite.ops import get_ops, memory\nget_ops('numpy'); print(memory._in_force)")[0])
    source, host = tmp_path / "host.c", tmp_path / "host.so"
    source.write_text(HOST)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-pthread", "-o", host, source], check=True)
    waits = {beside: int(run(WAITS, str(host), beside)[0]) for beside in ("net", "one heap")}
    # Eight threads are joined, plus some waits by chance; at the lock of one heap they would wait hundreds of times.
    assert waits["net"] < 40, waits


@on_linux
def test_it_is_said_once_and_can_be_switched_off_and_on() -> None:
    script = SWITCHED + (
        "from caffe_lite.ops.memory import recycle_freed_memory\n"
        "get_ops('numpy'); get_ops('numpy'); print(recycle_freed_memory(), faults())\n"
        "caffe.set_memory_recycling(False); get_ops('numpy'); print(recycle_freed_memory(), faults())\n"
        "caffe.set_memory_recycling(None); get_ops('numpy'); print(recycle_freed_memory(), faults())\n"
    )
    said = "Memory that is freed stays with this process, for the arrays to come; CAFFE_LITE_RECYCLE_MEMORY=0 leaves "
    said += "the C library as it is"
    first, on, back, off, again, on_again = run(script)
    assert first == again == said and back == "The C library gives freed memory back to the system again"
    assert [line.split()[0] for line in (on, off, on_again)] == ["True", "False", "True"]
    kept, fresh, kept_again = (int(line.split()[1]) for line in (on, off, on_again))
    # The array covers 768 pages, of which at most 512 may come as one large page.
    assert kept < 100 and kept_again < 100
    assert fresh > 200


@on_linux
def test_the_environment_switches_it_off() -> None:
    script = SWITCHED + "from caffe_lite.ops.memory import recycle_freed_memory\nget_ops('numpy')\n"
    assert run(script + "print(recycle_freed_memory())", CAFFE_LITE_RECYCLE_MEMORY="0") == ["False"]
    wanted = "caffe.set_memory_recycling(True); get_ops('numpy'); print(recycle_freed_memory())"
    assert run(script + wanted, CAFFE_LITE_RECYCLE_MEMORY="0")[1:] == ["True"]
