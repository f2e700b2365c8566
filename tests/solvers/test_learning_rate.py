from __future__ import annotations

import math

import pytest

from caffe_lite.errors import SolverError
from caffe_lite.proto.caffe_pb2 import SolverParameter
from caffe_lite.solvers.learning_rate import check_policy, learning_rate, next_step


def policy(name: str, **settings: object) -> SolverParameter:
    return SolverParameter(base_lr=0.5, lr_policy=name, **settings)


@pytest.mark.parametrize(
    ("param", "iteration", "rate"),
    [
        (policy("fixed"), 1000, 0.5),
        (policy("step", gamma=0.5, stepsize=10), 29, 0.5 * 0.5**2),
        (policy("exp", gamma=0.5), 3, 0.5 * 0.5**3),
        (policy("inv", gamma=0.25, power=0.5), 12, 0.5 * 4**-0.5),
        (policy("poly", max_iter=100, power=2), 50, 0.5 * 0.25),
        (policy("poly", max_iter=100, power=2), 100, 0),
        (policy("sigmoid", gamma=0.5, stepsize=10), 4, 0.5 / (1 + math.exp(3))),
        (policy("sigmoid", gamma=0.5, stepsize=100000), 0, 0),
        # Forks': ramps, a least rate, a rate for each stage, steps that others count.
        (policy("fixed", warmup_iter=10, warmup_start_lr=0.1), 4, 0.1 + 0.4 * 0.4),
        (policy("fixed", warmup_iter=10, warmup_start_lr=0.1), 10, 0.5),
        (policy("step", gamma=0.5, stepsize=10, warmup_iter=10), 20, 0.5 * 0.25),
        (policy("inv", gamma=0.25, power=0.5, warmup_iter=13), 12, 0.5 * 12 / 13),
        (policy("fixed", rampup_interval=8, rampup_lr=0.1), 2, 0.1 + 0.4 / 16),
        (policy("fixed", rampup_interval=8), 4, 0.5 / 4),
        (policy("fixed", rampup_interval=8, min_lr=0.25), 4, 0.25),
        (policy("poly", max_iter=100, power=2, min_lr=0.25), 50, 0.25 + 0.25 * 0.25),
        (policy("poly", max_iter=100, power=2, min_lr=0.25), 100, 0.25),
        (policy("exp", gamma=0.5, min_lr=0.125), 3, 0.125),
        (policy("multifixed", stagelr=[0.25, 0.5, 0.125], stageiter=[10, 20, 30]), 0, 0.25),
        (policy("multifixed", stagelr=[0.25, 0.5, 0.125], stageiter=[10, 20, 30]), 10, 0.25),
        (policy("multifixed", stagelr=[0.25, 0.5, 0.125], stageiter=[10, 20, 30]), 11, 0.5),
        (policy("multifixed", stagelr=[0.25, 0.5, 0.125], stageiter=[10, 20, 30]), 99, 0.125),
    ],
)
def test_formulas(param: SolverParameter, iteration: int, rate: float) -> None:
    check_policy(param)
    step = next_step(param, iteration, 0)
    assert learning_rate(param, iteration, step) == pytest.approx(rate, rel=1e-6, abs=1e-12)


def test_multistep_takes_its_steps_one_at_a_time() -> None:
    param = policy("multistep", gamma=0.5, stepvalue=[2, 4, 4])
    step, rates = 0, []
    for iteration in range(8):
        step = next_step(param, iteration, step)
        rates.append(learning_rate(param, iteration, step))
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125, 0.0625, 0.0625, 0.0625]


def test_multistep_takes_no_step_in_a_ramp() -> None:
    param = policy("multistep", gamma=0.5, stepvalue=[1, 2], warmup_iter=4)
    step, steps = 0, []
    for iteration in range(7):
        step = next_step(param, iteration, step)
        steps.append(step)
    assert steps == [0, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("name", ["plateau", "stepearly"])
def test_steps_that_training_brings_count_like_others(name: str) -> None:
    param = policy(name, gamma=0.5, stepearly=2, test_interval=5)
    check_policy(param)
    assert next_step(param, 100, 3) == 3
    assert learning_rate(param, 100, 3) == 0.5 * 0.5**3


@pytest.mark.parametrize(
    ("param", "message"),
    [
        (policy("setp"), "unknown learning rate policy 'setp'.*Did you mean 'step'"),
        (policy("cosine"), "policies: fixed, step"),
        (SolverParameter(), "lr_policy is not given"),
        (policy("step", gamma=0.1), "stepsize of at least 1"),
        (policy("sigmoid", gamma=0.1), "stepsize of at least 1"),
        (policy("poly", power=1), "max_iter of at least 1"),
        (policy("exp", gamma=-0.1), "gamma of at least 0, not -0.1"),
        (policy("stepearly", gamma=0.1, stepearly=1), "'stepearly' needs a test_interval of at least 1"),
        (policy("stepearly", gamma=0.1, test_interval=1), "'stepearly' needs a stepearly of at least 1"),
        (policy("multifixed", stagelr=[1, 2], stageiter=[3]), "has 2 stagelr for 1 stageiter"),
        (policy("multifixed"), "has 0 stagelr for 0 stageiter"),
        (policy("poly", max_iter=5, min_lr=1), "min_lr 1 is more than base_lr 0.5"),
        (policy("fixed", warmup_iter=5, rampup_interval=5), "warmup_iter and rampup_interval exclude each other"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(param: SolverParameter, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        check_policy(param)


@pytest.mark.parametrize(
    ("param", "iteration", "message"),
    [
        (policy("poly", max_iter=10, power=0.5), 11, "ends at max_iter 10, and this is iteration 11"),
        (policy("poly", max_iter=10, power=-1), 10, "no finite learning rate at iteration 10"),
        (policy("exp", gamma=10), 1000, "no finite learning rate at iteration 1000"),
    ],
)
def test_a_rate_that_is_not_finite_is_refused(param: SolverParameter, iteration: int, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        learning_rate(param, iteration, 0)
