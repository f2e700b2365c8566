"""What forks add to the update rules, against the formulas in float64, and resumed from snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import SolverError
from caffe_lite.solvers import SGDSolver, get_solver
from caffe_lite.solvers.rules_of_forks import restarting

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 }
        data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 2 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
STEPS = 5
Arrays = list[np.ndarray]
Make = Callable[..., SGDSolver]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)

    def make(settings: str, **options: object) -> SGDSolver:
        policy = "" if "lr_policy" in settings else 'lr_policy: "fixed"'
        Path("s.prototxt").write_text(
            f'net: "net.prototxt" base_lr: 0.125 random_seed: 3 max_iter: 10 snapshot_prefix: "s" {policy} {settings}'
        )
        return get_solver("s.prototxt", **options)

    return make


def norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x))


def updates(solver: SGDSolver) -> Iterator[tuple[Arrays, Arrays]]:
    """Train with gradients at random; yield the gradients and the parameters after each update, the first without."""
    rng = np.random.default_rng(1)
    blobs = solver.net.params["ip"]
    yield [], [np.array(blob.data, float) for blob in blobs]
    for _ in range(STEPS):
        gradients = [rng.normal(size=blob.data.shape) for blob in blobs]
        for blob, gradient in zip(blobs, gradients, strict=True):
            blob.diff[...] = gradient
        solver.apply_update()
        yield gradients, [np.array(blob.data, float) for blob in blobs]


def check(solver: SGDSolver, rule: Callable[[int, int, np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Compare each update with a function of its number, the number of the parameter, its values and its gradient."""
    (_, before), *rest = updates(solver)
    for t, (gradients, after) in enumerate(rest):
        before = [rule(t, i, w, g) for i, (w, g) in enumerate(zip(before, gradients, strict=True))]
        for mine, wanted in zip(after, before, strict=True):
            np.testing.assert_allclose(mine, wanted, 2e-5, 2e-6)


class Velocity:
    """SGD in float64, over the rates of two parameters."""

    def __init__(self) -> None:
        self.v = [0.0, 0.0]

    def __call__(self, i: int, w: np.ndarray, g: np.ndarray, rate: float, momentum: float = 0.5) -> np.ndarray:
        self.v[i] = momentum * self.v[i] + rate * g
        return w - self.v[i]


def test_lars(make: Make, engine: str) -> None:
    sgd = Velocity()

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        local = 0.25 * norm(w) / (norm(g) + 0.0625 * norm(w))
        return sgd(i, w, g + (0.0625 * w if i == 0 else 0), 0.125 * local)

    check(make("momentum: 0.5 weight_decay: 0.0625 local_lr_auto: true local_gw_ratio: 0.25", engine=engine), rule)


@pytest.mark.parametrize("policy", ["scale", "clip"])
def test_larc(make: Make, engine: str, policy: str) -> None:
    sgd = Velocity()

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        local = 0.5 * 0.5 * norm(w) / norm(g)
        rate = min(0.125, local) if policy == "clip" else 0.125 * local
        return sgd(i, w, g + (0.0625 * w if i == 0 else 0), rate)

    check(
        make(f'momentum: 0.5 weight_decay: 0.0625 larc: true larc_eta: 0.5 larc_policy: "{policy}"', engine=engine),
        rule,
    )


def test_larc_turbo(make: Make, engine: str) -> None:
    sgd, correlation = Velocity(), [0.0, 0.0]

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        cosine = np.sum(g * sgd.v[i]) / (norm(g) * norm(np.array(sgd.v[i]))) if t else 0
        correlation[i] = 0.95 * correlation[i] + 0.05 * cosine
        return sgd(i, w, g, 0.125 * (0.5 * norm(w) * 0.5 / norm(g) - 0.9 * correlation[i]))

    check(make("momentum: 0.5 larc: true larc_eta: 0.5 larc_turbo: true", engine=engine), rule)


@pytest.mark.parametrize("settings", ["larc: true", "larc: true larc_turbo: true", "local_lr_auto: true"])
def test_local_rates_of_zeros_are_one_and_of_frozen_parameters_zero(make: Make, settings: str, engine: str) -> None:
    Path("net.prototxt").write_text(NET.replace("lr_mult: 1", "lr_mult: 0"))
    solver = make(settings, engine=engine)
    w, b = solver.net.params["ip"]
    kept, b.data[...], w.diff[...], b.diff[...] = np.copy(w.data), 0, 1, 1
    solver.apply_update()
    assert (w.data == kept).all()
    np.testing.assert_allclose(b.data, -0.125)
    b.diff[...] = 0
    solver.apply_update()
    np.testing.assert_allclose(b.data, -0.125)


def test_momentum_and_decay_follow_their_policies(make: Make, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    sgd = Velocity()

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        decay = 0.0625 + (0.25 - 0.0625) * t / 10
        return sgd(i, w, g + (decay * w if i == 0 else 0), 0.125 * (1 + i), 0.5 + (0.75 - 0.5) * (t / 10) ** 2)

    policies = """momentum: 0.5 momentum_policy: "poly" momentum_power: 2 max_momentum: 0.75 display: 2
        weight_decay: 0.0625 weight_decay_policy: "poly" max_weight_decay: 0.25"""
    with caplog.at_level("INFO", "caffe_lite"):
        check(make(policies, engine=engine), rule)
    assert [m for m in caplog.messages if "lr = " in m][
        1
    ] == "Iteration 2, lr = 0.125, m = 0.51, lrm = 0.255102, wd = 0.1"


@pytest.mark.parametrize(("limit", "wanted"), [("", (1 - 0.25) ** 2), ("max_momentum: 0.5", 0.5)])
def test_optimal_momentum_depends_on_the_rate(make: Make, limit: str, wanted: float) -> None:
    sgd = Velocity()
    check(
        make(f'base_lr: 0.25 momentum_policy: "opt" {limit}'.replace("base_lr: 0.25", "")),
        lambda t, i, w, g: sgd(i, w, g, 0.125 * (1 + i), (1 - np.sqrt(0.125) / 2) ** 2 if not limit else wanted),
    )


def test_decoupled_decay_shrinks_beside_the_velocity(make: Make, engine: str) -> None:
    sgd = Velocity()

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return sgd(i, w, g, 0.125 * (1 + i)) - (0.125 * 0.0625 * w if i == 0 else 0)

    check(make('momentum: 0.5 weight_decay: 0.0625 regularization_type: "WD"', engine=engine), rule)


@pytest.mark.parametrize("turbo", [False, True])
@pytest.mark.parametrize("kind", ["L2", "WD"])
def test_sag(make: Make, engine: str, turbo: bool, kind: str) -> None:
    h: list[np.ndarray | float] = [0.0, 0.0]
    correlation = [0.0, 0.0]

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate, decay = 0.125 * (1 + i), 0.0625 * (i == 0)
        if turbo:
            rate = 0.125 * (0.25 * norm(w) / norm(h[i]) if t else 1)
            if t > 1:
                correlation[i] = 0.95 * correlation[i] + 0.05 * np.sum(g * h[i]) / norm(g) / norm(h[i])
                rate *= 1 - 0.9 * correlation[i]
        h[i] = 0.75 * h[i] + 0.25 * (g + decay * w * (kind == "L2"))
        return w - rate * (h[i] + decay * w * (kind == "WD"))

    larc = "larc: true larc_turbo: true larc_eta: 0.25" if turbo else ""
    check(
        make(f'type: "SAG" momentum: 0.75 weight_decay: 0.0625 regularization_type: "{kind}" {larc}', engine=engine),
        rule,
    )


def test_adamax(make: Make, engine: str) -> None:
    m, v = [0.0, 0.0], [0.0, 0.0]

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        m[i] = 0.5 * m[i] + 0.5 * g
        v[i] = np.maximum(0.75 * v[i] + 1e-7, abs(g))
        return w - 0.125 * (1 + i) / (1 - 0.5 ** (t + 1)) * m[i] / v[i]

    check(make('type: "AdaMax" momentum: 0.5 momentum2: 0.75', engine=engine), rule)


@pytest.mark.parametrize("restart", [False, True])
def test_adamw(make: Make, engine: str, restart: bool) -> None:
    m, v = [0.0, 0.0], [0.0, 0.0]

    def rule(t: int, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        m[i], v[i] = 0.5 * m[i] + 0.5 * g, 0.75 * v[i] + 0.25 * g * g
        mean, square = m[i] / (1 - 0.5 ** (t + 1)), v[i] / (1 - 0.75 ** (t + 1))
        # Periods of 2 and 4 iterations
        factor = (1 + np.cos(np.pi * [0, 1 / 2, 0, 1 / 4, 2 / 4][t])) / 2 if restart else 1
        return w - factor * (0.125 * (1 + i) * mean / np.sqrt(square) + 0.0625 * w * (i == 0))

    kind = 'type: "AdamWR" with_restart: true cosine_decay_steps: 2' if restart else 'type: "AdamW"'
    check(make(f"{kind} momentum: 0.5 momentum2: 0.75 weight_decay: 0.0625", engine=engine), rule)


def test_periods_of_restarts() -> None:
    assert [restarting(i, 2, 3) for i in (0, 2, 8)] == [1, 1, 1]
    np.testing.assert_allclose(
        [restarting(i, 2, 3) for i in (1, 5, 7, 17)], [0.5, 0.5, 0.5 + 0.5 * np.cos(5 / 6 * np.pi), 0.5]
    )
    assert [restarting(i, 4, 1) for i in (0, 4, 4_000_000)] == [1, 1, 1]


def test_weights_are_clipped_together_and_clamped(make: Make, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    solver = make("clip_weights: 0.5 clamp_weights_upper: 0.125", engine=engine)
    w, b = solver.net.params["ip"]
    w.data[...], b.data[...], w.diff[...], b.diff[...] = 3, -4, 0, 0
    whole = np.sqrt(6 * 9 + 2 * 16)
    with caplog.at_level("INFO", "caffe_lite"):
        solver.apply_update()
    np.testing.assert_allclose(w.data, np.minimum(3 * 0.5 / whole, 0.125), 1e-5)
    np.testing.assert_allclose(b.data, -4 * 0.5 / whole, 1e-5)
    assert caplog.messages == [
        f"Weight clipping: scaling down weights (L2 norm {whole:g} > 0.5) by scale factor {0.5 / whole:g}"
    ]
    caplog.clear()
    before = np.copy(w.data)
    solver.apply_update()
    assert (w.data == before).all() and not caplog.messages


def test_one_bound_leaves_the_other_open(make: Make) -> None:
    solver = make("clamp_weights_lower: -0.25")
    w, _ = solver.net.params["ip"]
    w.data[...], w.diff[...] = [[5, -5, 0], [-0.25, -0.3, 1e5]], 0
    solver.apply_update()
    np.testing.assert_allclose(w.data, [[5, -0.25, 0], [-0.25, -0.25, 1e5]])


def test_a_disabled_update_changes_nothing_but_the_iteration(make: Make) -> None:
    solver = make("momentum: 0.5 disabled_update: true")
    before = [np.copy(blob.data) for blob in solver.net.params["ip"]]
    solver.step(3)
    assert solver.iter == 3
    for blob, values in zip(solver.net.params["ip"], before, strict=True):
        assert (blob.data == values).all() and blob.diff.any()
    assert not any(array.any() for array in solver.history)


def test_a_test_offset_moves_the_tests(make: Make) -> None:
    solver = make("test_iter: 1 test_interval: 4 test_offset: 1")
    tested = []
    solver.on_iteration.append(lambda s: tested.append(s.tested))
    solver.solve()
    assert tested == [0, 1, 1, 1, 1, 5, 5, 5, 5, 9]
    assert solver.tested == 9


RESUMED = [
    'momentum: 0.5 larc: true larc_eta: 0.5 larc_turbo: true momentum_policy: "poly" weight_decay: 0.1',
    'type: "SAG" momentum: 0.5 larc: true larc_eta: 0.5 larc_turbo: true larc_policy: "clip"',
    'type: "AdaMax" momentum: 0.9 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5 warmup_iter: 3',
    'type: "AdamWR" momentum: 0.9 with_restart: true cosine_decay_steps: 3 weight_decay: 0.1',
    'momentum: 0.5 lr_policy: "plateau" gamma: 0.5 plateau_winsize: 1 plateau_winsize: 2 clip_weights: 1',
]


def check_resumed(make: Make, settings: str, **options: object) -> SGDSolver:
    whole, resumed = (make(f"snapshot: 4 {settings}", **options) for _ in range(2))
    whole.solve()
    resumed.solve("s_iter_4.solverstate")
    assert resumed.iter == 10
    for mine, theirs in zip(whole.net.learnable_params, resumed.net.learnable_params, strict=True):
        assert (whole.ops.host_view(mine.blob.data) == whole.ops.host_view(theirs.blob.data)).all()
    for one, other in zip(whole.correlations, resumed.correlations, strict=True):
        assert float(one) == float(other) != 0
    return whole


@pytest.mark.parametrize("settings", RESUMED)
def test_a_resumed_run_goes_on_exactly(make: Make, settings: str) -> None:
    check_resumed(make, settings, engine="numpy")


@pytest.mark.slow
@pytest.mark.parametrize("settings", RESUMED[:2])
def test_compiled_updates_are_the_same(make: Make, settings: str) -> None:
    pytest.importorskip("torch")
    compiled = check_resumed(make, settings, engine="torch", compile=True)
    plain = make(settings, engine="torch", compile=False)
    plain.solve()
    for mine, theirs in zip(compiled.net.learnable_params, plain.net.learnable_params, strict=True):
        np.testing.assert_allclose(
            plain.ops.host_view(mine.blob.data), plain.ops.host_view(theirs.blob.data), 1e-4, 1e-5
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('larc: true larc_policy: "clap"', "unknown larc_policy 'clap'. policies: scale, clip"),
        ("larc: true local_lr_auto: true", "larc and local_lr_auto exclude each other"),
        ("larc_turbo: true", "larc_turbo has no effect without larc"),
        ('type: "Adam" larc: true', "larc has no effect on Adam. Remove it"),
        ('type: "Nesterov" momentum_policy: "poly"', "momentum_policy has no effect on Nesterov"),
        ('type: "SAG" local_lr_auto: true', "local_lr_auto has no effect on SAG"),
        ('type: "AdamW" with_restart: true', "with_restart has no effect on AdamW"),
        ('type: "AdamW" momentum: 0.9 weight_decay_policy: "poly"', "weight_decay_policy has no effect on AdamW"),
        ('type: "Adam" weight_decay: 1 regularization_type: "WD"', "unknown regularization type 'WD'. Use L1 or L2"),
        ('type: "AdamWR" cosine_decay_mult: 0', "cosine_decay_mult is 0. It must be at least 1"),
        ('momentum_policy: "exp"', "unknown momentum_policy 'exp'. policies: fixed, poly, opt"),
        ('weight_decay_policy: "opt"', "unknown weight_decay_policy 'opt'"),
        ('max_iter: 0 momentum_policy: "poly"', 'momentum_policy: "poly" needs a max_iter of at least 1'),
        ('momentum_policy: "poly" momentum_power: -1', "momentum_power is -1"),
        ("max_momentum: 2", "max_momentum 2 should lie between 0 and 1"),
        ("warmup_iter: -1", "warmup_iter is -1. It must be at least 0"),
        ('lr_policy: "multifixed" stagelr: nan stageiter: 3', "stagelr is nan. Give a number"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Make, settings: str, message: str) -> None:
    if "max_iter" in settings:
        Path("s.prototxt").write_text(f'net: "net.prototxt" lr_policy: "fixed" {settings}')
        with pytest.raises(SolverError, match=message):
            get_solver("s.prototxt")
        return
    with pytest.raises(SolverError, match=message):
        make(settings)


def test_an_old_solver_type_of_forks(make: Make) -> None:
    assert make("solver_type: SAG").type == "SAG"
    assert make("solver_type: ADAMWR momentum: 0.5").type == "AdamWR"
