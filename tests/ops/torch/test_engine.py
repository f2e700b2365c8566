"""The torch engine in processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

FORKED = """
import os, signal
import caffe_lite as caffe

open("net.prototxt", "w").write('''
layer { name: "x" type: "DummyData" top: "x"
        dummy_data_param { shape { dim: 16 dim: 16 dim: 32 dim: 32 } data_filler { type: "gaussian" } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "loss" type: "Reduction" bottom: "conv" top: "loss" loss_weight: 1 }''')
caffe.set_engine("torch")

def compute():
    caffe.set_random_seed(1)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    loss = float(net.forward()["loss"])
    net.backward()
    return loss

loss = compute()
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(abs(compute() - loss) > 1e-4 * abs(loss))
print("child", os.waitpid(child, 0)[1], "parent", compute() == loss)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS's libraries do not outlive a fork")
def test_a_forked_child_computes_on(tmp_path):
    """The child does not have the OpenMP threads that the parent has started."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "child 0 parent True\n", done.stderr
