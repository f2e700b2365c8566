"""The update rules against the original: every rule and policy, step by step, and resumed from its snapshots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import SolverError
from caffe_lite.proto.caffe_pb2 import SolverParameter
from caffe_lite.solvers import SGDSolver, get_solver

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/steps.npz"))
RULES = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]


def params(solver: SGDSolver) -> list[np.ndarray]:
    return [blob.data for name in ("ip1", "ip2") for blob in solver.net.params[name]]


def start(case: str, engine: str) -> SGDSolver:
    """Make the solver of a case, with the original's initial parameters and inputs."""
    inputs = np.load(GOLDEN / "inputs.npz")
    solver = get_solver(f"{case}/solver.prototxt", engine=engine)
    for index, param in enumerate(params(solver)):
        param[...] = inputs[f"w/{index}"]
    for name in ("data", "target"):
        solver.net.blobs[name].data[...] = inputs[name]
    return solver


def check_steps(solver: SGDSolver, case: str) -> None:
    wanted = np.load(GOLDEN / case / "steps.npz")
    for iteration in range(solver.iter, len(wanted["loss"])):
        solver.step(1)
        np.testing.assert_allclose(solver.net.blobs["loss"].data, wanted["loss"][iteration], 2e-4, 2e-5)
        for index, param in enumerate(params(solver)):
            np.testing.assert_allclose(
                param, wanted[f"w/{index}"][iteration], 2e-4, 2e-5, err_msg=f"param {index} in iteration {iteration}"
            )


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_the_original_s(case: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    check_steps(start(case, engine), case)


@pytest.mark.parametrize(
    "state", sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*.solverstate*")), ids=str
)
def test_the_original_s_snapshots_are_resumed(state: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    case = state.split("/")[0]
    solver = start(case, engine)
    for param in params(solver):
        param[...] = 9
    solver.restore(state)
    assert solver.iter == 6
    check_steps(solver, case)


def test_all_cases_are_there() -> None:
    assert len(CASES) == 17
    assert {get_type(case) for case in CASES} == set(RULES)


def get_type(case: str) -> str:
    from caffe_lite.proto.prototxt import read_solver

    return read_solver(GOLDEN / case / "solver.prototxt").message.type


def small(rule: str, extra: str = "", **settings: object) -> SGDSolver:
    """Make a solver over y = w x with the parameter w = 2 of shape (1, 1); the callback sets the gradient."""
    from google.protobuf import text_format

    param = SolverParameter(**{"type": rule, "lr_policy": "fixed", "base_lr": 0.1, "random_seed": 1} | settings)
    text_format.Parse(
        f"""layer {{ name: "in" type: "Input" top: "x" top: "t"
                     input_param {{ shape {{ dim: 1 dim: 1 }} shape {{ dim: 1 dim: 1 }} }} }}
            layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" {extra}
                     inner_product_param {{ num_output: 1 bias_term: false
                                            weight_filler {{ type: "constant" value: 2 }} }} }}
            layer {{ name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }}""",
        param.net_param,
    )
    return get_solver(param)


@pytest.mark.parametrize("rule", RULES)
def test_a_frozen_parameter_does_not_move(rule: str) -> None:
    solver = small(rule, "param { lr_mult: 0 }", weight_decay=0.1)
    solver.net.blobs["x"].data[...] = 3
    solver.step(4)
    assert solver.net.params["ip"][0].data == 2
    assert np.isfinite([float(array[0, 0]) for array in solver.history]).all()


def test_a_frozen_parameter_keeps_its_momentum_as_in_the_original() -> None:
    solver = small("SGD", "param { lr_mult: 0 }", momentum=0.5)
    solver.history[0][...] = 1
    solver.step(2)
    assert solver.net.params["ip"][0].data == pytest.approx(2 - 0.5 - 0.25)


def test_updates_are_written_in_place_and_the_diff_stays_the_gradient() -> None:
    solver = small("SGD", momentum=0.9)
    view = solver.net.params["ip"][0].data
    solver.net.blobs["x"].data[...] = 1
    solver.step(1)
    assert view == pytest.approx(2 - 0.1 * 2)
    assert solver.net.params["ip"][0].diff == pytest.approx(2)


def test_apply_update_takes_the_diffs_at_hand_and_counts() -> None:
    solver = small("SGD", weight_decay=0.5, iter_size=2)
    solver.net.params["ip"][0].diff[...] = 8
    solver.apply_update()
    assert solver.iter == 1
    assert solver.net.params["ip"][0].data == pytest.approx(2 - 0.1 * (8 / 2 + 0.5 * 2))


def test_clipping_comes_before_averaging_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    solver = small("SGD", clip_gradients=2, iter_size=2)
    solver.net.params["ip"][0].diff[...] = 8
    with caplog.at_level("INFO", "caffe_lite"):
        solver.apply_update()
    assert solver.net.params["ip"][0].data == pytest.approx(2 - 0.1 * 2 / 2)
    assert "Gradient clipping: scaling down gradients (L2 norm 8 > 2) by scale factor 0.25" in caplog.messages


def test_l1_takes_the_sign() -> None:
    solver = small("SGD", weight_decay=0.5, regularization_type="L1")
    solver.apply_update()
    assert solver.net.params["ip"][0].data == pytest.approx(2 - 0.1 * 0.5)


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        ("AdaGrad", {"momentum": 0.9}, "Momentum cannot be used with AdaGrad"),
        ("RMSProp", {"momentum": 0.9}, "Momentum cannot be used with RMSProp"),
        ("RMSProp", {"rms_decay": 1.0}, "rms_decay 1 should lie between 0 and 1"),
        ("RMSProp", {"rms_decay": -0.5}, "rms_decay -0.5 should lie between 0 and 1"),
        ("Adam", {"momentum": 1.0}, "momentum 1 should"),
        ("Adam", {"momentum2": 1.5}, "momentum2 1.5 should"),
        ("SGD", {"weight_decay": 0.1, "regularization_type": "L3"}, "unknown regularization type 'L3'"),
        ("SGD", {"iter_size": 0}, "iter_size is 0"),
        ("SGD", {"average_loss": 0}, "average_loss is 0"),
        ("SGD", {"base_lr": -0.1}, "base_lr is -0.1. It must be at least 0"),
        ("SGD", {"gamma": -1}, "gamma is -1"),
        ("Adam", {"delta": -1e-8}, "delta is -1e-08"),
        ("SGD", {"max_iter": -1}, "max_iter is -1"),
        ("SGD", {"test_iter": [1, -2]}, "test_iter is -2"),
        *(
            (rule, {"momentum": value}, f"momentum {value:g} should lie between 0 and 1")
            for rule in ("SGD", "Nesterov", "AdaDelta", "Adam")
            for value in (-0.1, 1.5)
        ),
        *(
            ("SGD", {field: value}, f"{field} is {value:g}. Give a number")
            for value in (float("nan"), float("inf"), -float("inf"))
            for field in (
                *("base_lr", "gamma", "power", "momentum", "weight_decay", "clip_gradients"),
                *("delta", "momentum2", "rms_decay"),
            )
        ),
        ("Adem", {}, "unknown solver type 'Adem'.*Did you mean 'Adam'"),
        ("SGDD", {}, "Did you mean 'SGD'"),
    ],
)
def test_settings_that_cannot_work_are_refused(rule: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(SolverError, match=message):
        small(rule, **settings)


def test_an_error_tells_its_place(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt"\ntype: "AdaGrad"\n  momentum: 0.9\n')
    with pytest.raises(SolverError, match=r"solver\.prototxt:3:3: Momentum cannot be used with AdaGrad"):
        get_solver(path)


# Nets with nothing to learn, and with one number to learn.
SMALL = {
    "no layers": "",
    "no parameter": "",
    "no item": 'layer { name: "s" type: "InnerProduct" bottom: "x" top: "s" inner_product_param { num_output: 3 } }',
    "one number": 'layer { name: "s" type: "Scale" bottom: "x" top: "s" scale_param { axis: 0 num_axes: 0 } }',
}
OPTIONS = [
    "",
    "clip_gradients: 0",
    "clip_gradients: 0.1",
    "clip_gradients: 1e6",
    "iter_size: 3",
    "weight_decay: 0.1",
    'weight_decay: 0.1 regularization_type: "L1"',
    "debug_info: true",
    "average_loss: 3",
    "snapshot_diff: true",
    "test_iter: 2 test_interval: 1 test_compute_loss: true",
    'clip_gradients: 0.1 iter_size: 2 weight_decay: 0.1 regularization_type: "L1" snapshot_diff: true debug_info: true',
]


def small_solver(net: str, rule: str, option: str, engine: str, compile: bool = False) -> SGDSolver:
    items = 0 if net == "no item" else 2
    data = f"""layer {{ name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {{
        shape {{ dim: {items} dim: 3 }} data_filler {{ type: "uniform" min: 0.5 }} data_filler {{ value: -2 }} }} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "{"s" if SMALL[net] else "x"}" bottom: "t" top: "loss" }}"""
    first, loss = data.split("\n        layer")
    Path("net.prototxt").write_text('name: "none"' if net == "no layers" else f"{first}\n{SMALL[net]}\nlayer{loss}")
    own = {"SGD": "momentum: 0.9", "Nesterov": "momentum: 0.9", "Adam": "momentum: 0.9"}
    own["AdaDelta"] = "momentum: 0.9 delta: 1e-6"
    Path("solver.prototxt").write_text(
        f"""net: "net.prototxt" type: "{rule}" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 display: 1 snapshot: 2
        random_seed: 1 snapshot_prefix: "s" {own.get(rule, "")} {option}"""
    )
    return get_solver("solver.prototxt", engine=engine, compile=compile)


def check_small(net: str, rule: str, option: str, engine: str, compile: bool = False) -> SGDSolver:
    whole, resumed = (small_solver(net, rule, option, engine, compile) for _ in range(2))
    whole.solve()
    resumed.solve("s_iter_2.solverstate")
    assert whole.iter == resumed.iter == 3
    for mine, theirs in zip(whole.net.learnable_params, resumed.net.learnable_params, strict=True):
        values = whole.ops.host_view(mine.blob.data)
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, whole.ops.host_view(theirs.blob.data))
    return whole


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("net", SMALL)
def test_every_option_over_nothing_and_over_one_number(
    net: str, option: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for rule in RULES:
        solver = check_small(net, rule, option, engine)
        if net == "one number" and rule == "SGD" and option == "clip_gradients: 0.1":
            # Three gradients above 0, each clipped to 0.1: velocities of 1, 1.9 and 2.71 times the first.
            change = float(solver.net.params["s"][0].data) - 1
            np.testing.assert_allclose(change, -0.01 * 0.1 * (1 + 1.9 + 2.71), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "option"), [("Adam", "clip_gradients: 0.1"), ("SGD", OPTIONS[-1])])
@pytest.mark.parametrize("net", SMALL)
def test_every_option_over_nothing_and_over_one_number_compiled(
    net: str, rule: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    check_small(net, rule, option, "torch", compile=True)
