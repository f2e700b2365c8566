"""What the process frees must serve again: training neither grows nor maps its memory anew in every iteration."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAIN = """
import resource, threading
import numpy as np
from caffe_lite.ops import get_ops
from caffe_lite.ops.memory import recycle_freed_memory

ops = get_ops("numpy")
recycled = recycle_freed_memory()

def iterate():
    x = np.ones((32, 8, 32, 32), np.float32)
    weight = np.ones((16, 8, 5, 5), np.float32)
    where = ((1, 1), (2, 2), (1, 1), 1)
    y = ops.convolution(x, weight, None, *where)
    ops.convolution_backward(y, x, weight, *where, (True, True, True))

def faults(times, run):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def in_a_thread():
    thread = threading.Thread(target=iterate)
    thread.start()
    thread.join()

faults(5, iterate), faults(5, in_a_thread)
warm = peak()
print(recycled, faults(20, iterate), faults(20, in_a_thread), peak() - warm, sep="\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults; only glibc's allocator is told anything")
def test_an_iteration_uses_the_memory_of_the_one_before() -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN], stdout=subprocess.PIPE, text=True, check=True)
    recycled, faults, faults_in_a_thread, growth = done.stdout.split()
    if recycled != "True":
        pytest.skip("this C library cannot be told to keep freed memory")
    # Its arrays cover some 6,000 pages.
    assert float(faults) < 100
    assert float(faults_in_a_thread) < 100
    assert int(growth) < 4096, "kilobytes"
