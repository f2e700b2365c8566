"""The policies plateau and stepearly: when a value that should fall has not fallen for long enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from caffe_lite.errors import SolverError
from caffe_lite.proto.caffe_pb2 import SolverState
from caffe_lite.solvers import SGDSolver, get_solver
from caffe_lite.solvers.progress import NEVER, Progress

# The loss is x, and so is the accuracy of a test; nothing is learned.
NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "x" top: "loss" loss_weight: 1 include { phase: TRAIN } }
layer { name: "kept" type: "Power" bottom: "x" top: "accuracy" include { phase: TEST } }
layer { name: "bad" type: "Power" bottom: "x" top: "bad" loss_weight: 1 power_param { shift: 3 }
        include { phase: TEST } }
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SGDSolver]:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)

    def make(settings: str) -> SGDSolver:
        Path("s.prototxt").write_text(f'net: "net.prototxt" base_lr: 1 gamma: 0.5 snapshot_prefix: "s" {settings}')
        return get_solver("s.prototxt")

    return make


def test_a_step_is_due_when_nothing_fell_for_the_patience() -> None:
    progress = Progress()
    values = [5, 4, 4, 4, 3.5, 3.5, 9, 3.5, 3.5, 3.5]
    due = [progress.step_is_due(value, iteration, 3) for iteration, value in enumerate(values)]
    assert due == [False] * 7 + [True] + [False] * 2
    assert (progress.lowest, progress.event) == (3.5, 7)


def test_nothing_is_lower_than_the_first() -> None:
    progress = Progress()
    assert not progress.step_is_due(NEVER / 2, 0, 1)
    assert progress.event == 0 and progress.step_is_due(NEVER, 1, 1)


PLATEAU = 'lr_policy: "plateau" plateau_winsize: 2 plateau_winsize: 3'
LOSSES = [4, 3, 3, 3, 3, 3, 3, 2, 3, 3, 3, 3]
RATES = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]


def run(solver: SGDSolver, losses: list[float], caplog: pytest.LogCaptureFixture) -> list[float]:
    """Return the rates that the log shows."""
    with caplog.at_level("INFO", "caffe_lite"):
        for loss in losses:
            solver.net.blobs["x"].data[...] = loss
            solver.step(1)
    return [float(m.rpartition(" ")[2]) for m in caplog.messages if ", lr = " in m]


def test_plateau_lowers_the_rate(make: Callable[[str], SGDSolver], caplog: pytest.LogCaptureFixture) -> None:
    assert run(make(f"{PLATEAU} display: 1"), LOSSES, caplog) == RATES
    steps = [m for m in caplog.messages if "step = " in m]
    assert steps == ["Plateau Status: Iteration 3, step = 1", "Plateau Status: Iteration 6, step = 2"]
    lowest = [m for m in caplog.messages if "minimum_loss" in m]
    assert lowest[:2] == [f"Plateau Status: Iteration {i}, current minimum_loss = {4 - i}" for i in (0, 1)]
    assert len(lowest) == 5


def test_plateau_waits_for_the_end_of_a_ramp(
    make: Callable[[str], SGDSolver], caplog: pytest.LogCaptureFixture
) -> None:
    rates = run(make(f"{PLATEAU} display: 1 warmup_iter: 4 warmup_start_lr: 1"), [3] * 8, caplog)
    assert rates == [1, 1, 1, 1, 1, 1, 0.5, 0.5]


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
def test_plateau_is_resumed(make: Callable[[str], SGDSolver], caplog: pytest.LogCaptureFixture, hdf5: bool) -> None:
    settings = f"{PLATEAU} display: 1 snapshot: 5 snapshot_format: {'HDF5' if hdf5 else 'BINARYPROTO'}"
    if hdf5:
        pytest.importorskip("h5py")
    run(make(settings), LOSSES[:5], caplog)
    caplog.clear()
    solver = make(settings)
    solver.restore("s_iter_5.solverstate" + (".h5" if hdf5 else ""))
    assert run(solver, LOSSES[5:], caplog) == RATES[5:]
    if not hdf5:
        state = SolverState.FromString(Path("s_iter_5.solverstate").read_bytes())
        assert (state.minimum_loss, state.iter_last_event, state.current_step) == (3, 3, 1)


def test_other_policies_write_no_progress(make: Callable[[str], SGDSolver]) -> None:
    solver = make('lr_policy: "fixed"')
    solver.step(1)
    solver.snapshot()
    state = SolverState.FromString(Path("s_iter_1.solverstate").read_bytes())
    assert not state.HasField("minimum_loss") and not state.HasField("iter_last_event")


EARLY = 'lr_policy: "stepearly" stepearly: 2 test_interval: 2 test_iter: 1 display: 1 snapshot: 8'
# Of the tests before the iterations 0, 2, 4, ...
ACCURACIES = [0.1, 0.3, 0.2, 0.3, 0.25, 0.4, 0.3, 0.2]


def run_tests(solver: SGDSolver, caplog: pytest.LogCaptureFixture) -> list[float]:
    rates: list[float] = []
    while solver.iter < 16:
        solver.test_nets[0].blobs["x"].data[...] = ACCURACIES[solver.iter // 2]
        caplog.clear()
        rates += run(solver, [1, 1], caplog)
    return rates


def test_stepearly_lowers_the_rate_when_tests_stop_improving(
    make: Callable[[str], SGDSolver], caplog: pytest.LogCaptureFixture
) -> None:
    rates = run_tests(make(EARLY), caplog)
    # The best of the tests at 2 stands for two tests, at 4 and 6; that at 10 for those at 12 and 14.
    assert rates == [1] * 6 + [0.5] * 8 + [0.25] * 2
    assert "StepEarly Status: Iteration 14, step = 2" in caplog.messages
    resumed = make(EARLY)
    resumed.restore("s_iter_8.solverstate")
    assert run_tests(resumed, caplog) == rates[8:]


def test_stepearly_needs_an_accuracy(make: Callable[[str], SGDSolver]) -> None:
    Path("net.prototxt").write_text(NET.replace('top: "accuracy"', 'top: "accuracy" loss_weight: 1'))
    solver = make(EARLY)
    with pytest.raises(SolverError, match="needs a test net that has an output without loss_weight"):
        solver.step(1)
