"""The loop: when events are due, what it logs, and what stops it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import NetError, SolverError
from caffe_lite.solvers import SGDSolver, SolverAction, get_solver
from caffe_lite.solvers.solver import SmoothedLoss

GOLDEN_LOG = Path(__file__).parents[1] / "golden" / "logs" / "train_lenet_fashion_mnist.log"

NET = """name: "LeNet"
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 8 dim: 5 } shape { dim: 8 }
                           data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 6 random_seed: 1
snapshot_after_train: false snapshot_prefix: "s"
"""

Make = Callable[..., SGDSolver]


@pytest.fixture
def make(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return ``make(settings, net)``, which reads a solver from a file in the working directory, a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def make_solver(settings: str = "", net: str = NET) -> SGDSolver:
        Path("net.prototxt").write_text(net)
        text = SOLVER
        for field in re.findall(r"(\w+):", settings):  # replaces the one above
            text = re.sub(rf"\b{field}: \S+", "", text)
        Path("solver.prototxt").write_text(text + settings)
        return get_solver("solver.prototxt", engine=engine)

    return make_solver


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"net.prototxt", "solver.prototxt"}


def test_solve_reaches_max_iter_and_learns(make: Make) -> None:
    solver = make("max_iter: 60")
    solver.step(1)
    first = solver.smoothed_loss
    solver.solve()
    assert solver.iter == 60
    assert solver.smoothed_loss < 0.5 * first
    solver.solve()
    assert solver.iter == 60


def test_equal_seeds_train_equally_and_others_do_not(make: Make) -> None:
    def weights(settings: str) -> np.ndarray:
        solver = make(settings)
        solver.solve()
        return solver.net.params["ip"][0].data.copy()

    assert np.array_equal(weights(""), weights(""))
    assert not np.array_equal(weights(""), weights("random_seed: 2"))


def test_the_log_is_the_original_s(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Each line, without its numbers, is one that the original logged; the first lines are in the same order."""
    original = [
        line.partition("] ")[2]
        for line in GOLDEN_LOG.read_text().splitlines()
        if re.match(r"I\d{8} .* (solver|sgd_solver)\.cpp:", line)
    ]
    with caplog.at_level("INFO", "caffe_lite"):
        solver = make(
            'display: 2 test_iter: 3 test_interval: 2 snapshot: 4 snapshot_after_train: true snapshot_prefix: "lenet"'
            ' lr_policy: "inv" gamma: 0.1 power: 0.75'
        )
        solver.solve()
    mine = [r.getMessage().split("\n")[0] for r in caplog.records if r.pathname.find("solvers") >= 0]

    def shape(line: str) -> str:
        return re.sub(r"-?\d+(\.\d+)?(e[-+]\d+)?", "N", line.replace("tt.prototxt", "net.prototxt"))

    unknown = set(map(shape, mine)) - set(map(shape, original))
    assert not unknown
    assert [shape(line) for line in mine[:11]] == [shape(line) for line in original[:11]]
    assert [shape(line) for line in mine[-8:]] == [
        "Iteration N, lr = N",
        "Snapshotting to binary proto file lenet_iter_N.caffemodel",
        "Snapshotting solver state to binary proto file lenet_iter_N.solverstate",
        "Iteration N, loss = N",
        "Iteration N, Testing net (#N)",
        "    Test net output #N: accuracy = N",
        "    Test net output #N: loss = N (* N = N loss)",
        "Optimization Done.",
    ]
    assert files() == {f"lenet_iter_{n}{end}" for n in (4, 6) for end in (".caffemodel", ".solverstate")}


def test_numbers_are_printed_as_cpp_prints_them(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    solver = make("base_lr: 0.0000001 display: 1 max_iter: 1000000")
    with caplog.at_level("INFO", "caffe_lite"):
        solver.step(1)
    assert "Iteration 0, lr = 1e-07" in caplog.messages


@pytest.mark.parametrize(("initialization", "tested"), [("true", [0, 2, 4, 6]), ("false", [2, 4, 6])])
def test_tests_fall_due(make: Make, caplog: pytest.LogCaptureFixture, initialization: str, tested: list[int]) -> None:
    solver = make(f"test_iter: 1 test_iter: 1 test_interval: 2 test_initialization: {initialization}")
    with caplog.at_level("INFO", "caffe_lite"):
        solver.solve()
    assert [m for m in caplog.messages if "Testing net" in m] == [
        f"Iteration {n}, Testing net (#{i})" for n in tested for i in range(2)
    ]


def test_a_test_takes_means_over_its_batches_with_the_trained_parameters(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    solver = make("test_iter: 4 test_interval: 100 test_compute_loss: true")
    solver.step(5)
    (test_net,) = solver.test_nets
    state = test_net.state()
    with caplog.at_level("INFO", "caffe_lite"):
        solver.test_all()
    assert np.shares_memory(test_net.params["ip"][0].data, solver.net.params["ip"][0].data)
    test_net.restore_state(state)
    outputs = [{name: float(value) for name, value in test_net.forward().items()} for _ in range(4)]
    accuracy, loss = (np.mean([output[name] for output in outputs]) for name in ("accuracy", "loss"))
    assert caplog.messages[-4:] == [
        "Iteration 5, Testing net (#0)",
        f"Test loss: {loss:g}",
        f"    Test net output #0: accuracy = {accuracy:g}",
        f"    Test net output #1: loss = {loss:g} (* 1 = {loss:g} loss)",
    ]


CHOICE = """
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TEST }
        dummy_data_param { shape { dim: 64 } data_filler { type: "uniform" } } }
layer { name: "choice" type: "Threshold" bottom: "noise" top: "choice" include { phase: TEST }
        threshold_param { threshold: 0.5 } }
layer { name: "some" type: "Filter" bottom: "noise" bottom: "choice" top: "chosen" include { phase: TEST } }
"""


def test_an_output_of_several_shapes_has_no_mean(make: Make) -> None:
    solver = make("test_iter: 2 test_interval: 1", NET + CHOICE)
    with pytest.raises(NetError, match=r"in batch 1 and \(\d+,\) before it, so it has no mean") as caught:
        solver.step(1)
    assert re.match(r'net.prototxt:\d+:\d+, layer "some" \(Filter\): output \'chosen\' has shape \(', str(caught.value))


def test_losses_without_tops_are_not_logged_nor_scored(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    solver = make("test_iter: 2 test_interval: 1 display: 1", NET.replace(' top: "loss"', ""))
    solver.step(2)
    assert not any("loss = " in m for m in caplog.messages if "net output" in m)
    assert sum("Test net output #" in m for m in caplog.messages) == len(solver.test_scores[0]) * 2
    assert list(solver.test_scores[0]) == ["accuracy"]
    assert solver.smoothed_loss > 0


def test_snapshots_fall_due(make: Make) -> None:
    make("snapshot: 4 snapshot_after_train: true").solve()
    assert files() == {f"s_iter_{n}{end}" for n in (4, 6) for end in (".caffemodel", ".solverstate")}


def test_the_last_snapshot_is_not_taken_twice_and_step_takes_none_at_the_end(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make("snapshot_after_train: true").step(6)
    assert not files()
    with caplog.at_level("INFO", "caffe_lite"):
        make("snapshot: 3 snapshot_after_train: true snapshot_format: HDF5").solve()
    assert files() == {f"s_iter_{n}{end}.h5" for n in (3, 6) for end in (".caffemodel", ".solverstate")}
    assert len([m for m in caplog.messages if m.startswith("Snapshotting to HDF5 file")]) == 2


def test_losses_are_averaged_as_in_the_original(make: Make) -> None:
    solver = make("average_loss: 3")
    losses, smoothed = [], []
    solver.on_iteration.append(lambda s: losses.append(float(s.net.blobs["loss"].data)))
    solver.on_iteration.append(lambda s: smoothed.append(s.smoothed_loss))
    solver.step(6)
    assert smoothed == pytest.approx([np.mean(losses[max(0, n - 2) : n + 1]) for n in range(6)], rel=1e-6)
    solver.step(1)
    assert solver.smoothed_loss == pytest.approx(losses[-1])


def test_a_window_of_losses_goes_on_from_its_state() -> None:
    a = SmoothedLoss(3)
    for loss in (1, 2, 4, 8):
        a.add(loss)
    b = SmoothedLoss(3, a.state())
    for loss in (16, 32):
        a.add(loss)
        b.add(loss)
    assert a.mean == b.mean == pytest.approx((8 + 16 + 32) / 3)


def test_iter_size_averages_the_batches(make: Make) -> None:
    net = NET.replace('type: "gaussian"', 'type: "constant" value: 1')
    one, two = make("", net), make("iter_size: 2", net)
    for solver in (one, two):
        solver.step(3)
    assert one.smoothed_loss == pytest.approx(two.smoothed_loss, rel=1e-6)
    np.testing.assert_allclose(one.net.params["ip"][0].data, two.net.params["ip"][0].data, rtol=1e-6)


def test_callbacks_come_before_forward_and_before_the_update(make: Make) -> None:
    solver = make()
    order: list[str] = []
    before = solver.net.params["ip"][0].data.copy()

    def on_gradient() -> None:
        order.append("gradient")
        assert solver.net.params["ip"][0].diff.any()
        for blobs in solver.net.params.values():
            for blob in blobs:
                blob.diff[...] = 0

    solver.add_callback(lambda: order.append("start"), on_gradient)
    solver.on_iteration.append(lambda s: order.append(f"after {s.iter}"))
    solver.step(2)
    assert order == ["start", "gradient", "after 1", "start", "gradient", "after 2"]
    assert np.array_equal(solver.net.params["ip"][0].data, before)


def test_the_rate_at_hand(make: Make) -> None:
    solver = make('lr_policy: "multistep" gamma: 0.5 stepvalue: 2')
    rates = []
    for _ in range(4):
        rates.append(solver.lr)
        assert solver.lr == rates[-1]
        solver.step(1)
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05])


def test_multistep_logs_its_steps(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    solver = make('lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5')
    with caplog.at_level("INFO", "caffe_lite"):
        solver.solve()
    steps = [m for m in caplog.messages if m.startswith("MultiStep")]
    assert steps == ["MultiStep Status: Iteration 2, step = 1", "MultiStep Status: Iteration 5, step = 2"]


def test_a_request_to_stop_ends_training_with_a_snapshot(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    solver = make("snapshot_after_train: true test_iter: 1 test_interval: 6")
    requests = iter([SolverAction.NONE, SolverAction.NONE, SolverAction.SNAPSHOT, SolverAction.STOP])
    solver.requested_action = lambda: next(requests)
    with caplog.at_level("INFO", "caffe_lite"):
        solver.solve()
    assert solver.iter == 3
    assert {name for name in files() if name.endswith(".solverstate")} == {f"s_iter_{n}.solverstate" for n in (2, 3)}
    assert caplog.messages[-1] == "Optimization stopped early."
    solver.requested_action = lambda: SolverAction.NONE
    solver.solve()
    assert solver.iter == 6


def test_a_request_to_stop_ends_a_test(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    solver = make("test_iter: 2 test_iter: 2 test_interval: 2")
    requests = iter([SolverAction.NONE, SolverAction.SNAPSHOT, SolverAction.STOP, SolverAction.NONE])
    solver.requested_action = lambda: next(requests)
    with caplog.at_level("INFO", "caffe_lite"):
        solver.step(4)
    assert solver.iter == 0
    assert caplog.messages[-1] == "Test interrupted."
    assert files() == {"s_iter_0.caffemodel", "s_iter_0.solverstate"}


def test_debug_info_is_logged_where_the_loss_is_displayed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    solver = make("debug_info: true display: 2")
    with caplog.at_level("INFO", "caffe_lite"):
        solver.step(3)
    assert len([m for m in caplog.messages if "[Backward] All net params" in m]) == 2


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_training_and_names_the_blob(make: Make, value: str) -> None:
    solver = make("snapshot: 2")
    solver.step(2)
    weights = Path("s_iter_2.caffemodel").read_bytes()
    solver.net.params["ip"][0].data[1, 1] = float(value)
    with pytest.raises(SolverError) as caught:
        solver.step(2)
    message = str(caught.value)
    assert 'net.prototxt:5:1, layer "ip" (InnerProduct): the loss is nan in iteration 2' in message
    assert "not finite first in the data of param 0" in message
    assert solver.iter == 2
    assert Path("s_iter_2.caffemodel").read_bytes() == weights


def test_data_that_are_not_finite_are_named(make: Make) -> None:
    solver = make("", NET.replace('type: "gaussian"', 'type: "constant" value: 1'))
    solver.net.blobs["data"].data[0, 0] = np.nan
    with pytest.raises(SolverError, match=r'layer "data" \(DummyData\): .* in the data of data\.'):
        solver.step(1)


def test_training_that_diverges_is_stopped(make: Make) -> None:
    net = NET.replace("SoftmaxWithLoss", "EuclideanLoss").replace(
        'bottom: "label" top: "loss"', 'bottom: "t" top: "loss"'
    )
    target = 'layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape { dim: 8 dim: 3 } } }'
    net = net.replace('layer { name: "ip"', target + ' layer { name: "ip"')
    solver = make("base_lr: 1e6 max_iter: 1000", net)
    with pytest.raises(
        SolverError, match=r"the loss is (inf|nan) in iteration \d+: not finite first in .*Lower base_lr"
    ):
        solver.solve()
    assert 0 < solver.iter < 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            'snapshot: 5 snapshot_prefix: "missing/s"',
            r"solver\.prototxt:3:13: Cannot write to snapshot prefix 'missing/s'",
        ),
        ('lr_policy: "setp"', "Did you mean 'step'"),
        ('lr_policy: "step"', "needs a stepsize"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(make: Make, settings: str, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        make(settings)


def test_solve_finds_out_at_once_that_it_cannot_save(make: Make) -> None:
    solver = make('snapshot_after_train: true snapshot_prefix: "missing/s"')
    with pytest.raises(SolverError, match="Cannot write to snapshot prefix"):
        solver.solve()
    assert solver.iter == 0
    solver.step(1)


def test_a_solver_without_a_policy_serves_until_it_trains(make: Make) -> None:
    Path("net.prototxt").write_text(NET)
    Path("bare.prototxt").write_text('net: "net.prototxt"')
    solver = get_solver("bare.prototxt")
    solver.net.forward()
    with pytest.raises(SolverError, match=r"bare\.prototxt: lr_policy is not given"):
        solver.step(1)
