"""Training in several processes as scripts for pycaffe do it, on Gloo where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import command, environment
from tests.cli.conftest import folder as folder

pytest.importorskip("torch")

# As the original's python/train.py: a uid from the parent, one process for each solver, timers around the exchange.
SCRIPT = """
import sys
from multiprocessing import get_context

import numpy as np

import caffe


def work(uid, rank, count, snapshot, timing):
    caffe.set_device(rank)
    caffe.set_mode_gpu()
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)
    caffe.set_multiprocess(True)
    caffe.init_log()
    solver = caffe.SGDSolver("solver.prototxt")
    if snapshot:
        solver.restore(snapshot)
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    exchange = caffe.Timer()
    if timing:
        solver.add_callback(lambda: None, lambda: exchange.start())
    solver.add_callback(nccl)
    if timing:
        solver.add_callback(lambda: "", lambda: caffe.log("exchange %.3f of %d" % (exchange.ms, rank)))
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    solver.step(20 - solver.iter)
    np.savez("weights_%d.npz" % rank, *[b.data for p in solver.net.params.values() for b in p])


if __name__ == "__main__":
    method, snapshot, timing = sys.argv[1], sys.argv[2], sys.argv[3] == "timing"
    uid = caffe.NCCL.new_uid()
    context = get_context(method)
    processes = [context.Process(target=work, args=(uid, rank, 2, snapshot, timing)) for rank in range(2)]
    for process in processes:
        process.daemon = True
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
"""


def run(folder: Path, method: str, snapshot: str = "", timing: str = "") -> str:
    (folder / "train.py").write_text(SCRIPT)
    words = ["run", "--cpu", "train.py", method, snapshot, timing]
    done = subprocess.run(command(*words), cwd=folder, env=environment(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stderr


def weights(folder: Path, rank: int) -> list[np.ndarray]:
    with np.load(folder / f"weights_{rank}.npz") as file:
        return [file[name] for name in file.files]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", *(["fork"] if sys.platform == "linux" else [])])
def test_a_script_trains_in_several_processes(folder: Path, method: str) -> None:
    log = run(folder, method, timing="timing")
    first, second = weights(folder, 0), weights(folder, 1)
    for mine, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert log.count("Iteration 10, Testing net (#0)") == 1  # only the first solver tests,
    assert log.count("Iteration 10 (") == 1  # displays,
    assert log.count("Snapshotting to binary proto file stripes_iter_10.caffemodel") == 1  # and takes snapshots;
    assert log.count(" of 0") == log.count(" of 1") == 20  # what scripts log is shown for all

    run(folder, method, snapshot="stripes_iter_10.solverstate")
    for mine, theirs in zip(first, weights(folder, 0), strict=True):
        np.testing.assert_array_equal(mine, theirs)


SESSIONS = """
import sys
from multiprocessing import get_context

import caffe


def work(uids, rank):
    caffe.set_solver_count(2)
    caffe.set_solver_rank(rank)
    solver = caffe.SGDSolver("solver.prototxt")
    solver.net.params["ip1"][0].data[...] += rank
    nccl = caffe.NCCL(solver, uids[0])
    solver.add_callback(nccl)
    told("begins with other parameters", solver)
    nccl.bcast()
    solver.add_callback(nccl)
    solver.step(3)

    solver = caffe.SGDSolver("solver.prototxt")
    nccl = caffe.NCCL(solver, uids[1])
    nccl.bcast()
    told("call solver.add_callback(nccl)", solver)
    solver.add_callback(nccl)
    solver.step(3)

    nccl = caffe.NCCL(solver, uids[2])
    nccl.bcast()
    solver.add_callback(nccl)
    solver.step(3)
    with open("loss_%d" % rank, "w") as file:
        file.write(repr(solver.smoothed_loss))


def told(text, solver):
    try:
        solver.step(1)
    except caffe.CaffeError as error:
        assert text in str(error).replace("Call", "call"), error
    else:
        raise AssertionError("not told: " + text)


if __name__ == "__main__":
    uids = [caffe.NCCL.new_uid() for _ in range(3)]
    processes = [get_context("spawn").Process(target=work, args=(uids, rank), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
"""


@pytest.mark.slow
def test_sessions_one_after_the_other_and_what_is_forgotten_in_them(folder: Path) -> None:
    (folder / "sessions.py").write_text(SESSIONS)
    words = command("run", "sessions.py")
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert (folder / "loss_0").read_text() == (folder / "loss_1").read_text()
