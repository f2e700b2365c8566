"""Average precisions by hand, and a solver's test of detections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import NetError, SolverError
from caffe_lite.solvers import SGDSolver, get_solver
from caffe_lite.solvers.detection import AP_VERSIONS, average_precision
from tests.data.hdf5_files import write_hdf5

# Of five boxes, these detections find three; precision 1, 1/2, 2/3, 1/2, 3/5 at recall .2, .2, .4, .4, .6.
SCORES = np.array([0.5, 0.9, 0.8, 0.7, 0.6])
RIGHT = np.array([True, True, False, True, False])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("11point", (3 * 1 + 2 * 2 / 3 + 2 * 3 / 5) / 11),
        ("101point", (21 * 1 + 20 * 2 / 3 + 20 * 3 / 5) / 101),
        ("MaxIntegral", 0.2 * 1 + 0.2 * 2 / 3 + 0.2 * 3 / 5),
        ("Integral", 0.2 * 1 + 0.2 * 2 / 3 + 0.2 * 3 / 5),
    ],
)
def test_average_precision_by_hand(version: str, expected: float) -> None:
    assert abs(average_precision(version, SCORES, RIGHT, 5) - expected) < 1e-6


def test_precision_that_rises_again() -> None:
    """One wrong, three right of four: precision 0, 1/2, 2/3, 3/4. The versions differ."""
    scores, right = np.array([4.0, 3, 2, 1]), np.array([False, True, True, True])
    assert abs(average_precision("Integral", scores, right, 4) - (1 / 2 + 2 / 3 + 3 / 4) / 4) < 1e-6
    assert abs(average_precision("MaxIntegral", scores, right, 4) - 3 / 4 * 3 / 4) < 1e-6
    assert abs(average_precision("11point", scores, right, 4) - 8 / 11 * 3 / 4) < 1e-6


@pytest.mark.parametrize("version", AP_VERSIONS)
def test_all_or_nothing(version: str) -> None:
    assert abs(average_precision(version, SCORES, np.ones(5, bool), 5) - 1) < 1e-6
    assert average_precision(version, SCORES, np.zeros(5, bool), 5) == 0
    assert average_precision(version, SCORES[:0], RIGHT[:0], 5) == 0
    assert average_precision(version, SCORES, RIGHT, 0) == 0


def test_equal_scores_stay_in_order() -> None:
    right = np.array([True, False])
    assert average_precision("Integral", np.ones(2), right, 1) == 1
    assert average_precision("Integral", np.ones(2), right[::-1], 1) == 0.5


NET = """
layer { name: "rows" type: "HDF5Data" top: "found" top: "true"
        hdf5_data_param { source: "list.txt" batch_size: 1 } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "true" top: "detection_eval"
        include { phase: TEST } detection_evaluate_param { num_classes: 4 } }
layer { name: "score" type: "InnerProduct" bottom: "found" top: "score" include { phase: TRAIN }
        inner_product_param { num_output: 1 weight_filler { type: "constant" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "score" top: "loss" include { phase: TRAIN } }
layer { name: "unused" type: "Silence" bottom: "true" include { phase: TRAIN } }
"""
# image, label, score, box. In the first batch, label 1 has a right one, then one too many; label 2 a wrong one.
FOUND = [
    [[0, 1, 0.9, 0, 0, 0.5, 0.5], [0, 1, 0.7, 0, 0, 0.5, 0.5], [0, 2, 0.5, 0.5, 0.5, 1, 1]],
    [[0, 1, 0.8, 0, 0, 0.5, 0.5], [0, 2, 0.6, 0, 0, 1, 1], [0, 2, 0.4, 0, 0, 0.5, 0.5]],
]
# In the second, each label has a right one, and label 2 a wrong one.
TRUE = [
    [[0, 1, 0, 0, 0, 0.5, 0.5, 0], [0, 1, 1, 0.5, 0.5, 1, 1, 0]],
    [[0, 1, 0, 0, 0, 0.5, 0.5, 0], [0, 2, 0, 0, 0, 1, 1, 0]],
]


@pytest.fixture
def make(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SGDSolver]]:
    monkeypatch.chdir(tmp_path)
    found, true = (np.array(rows, np.float32)[:, None] for rows in (FOUND, TRUE))
    write_hdf5(tmp_path / "rows.h5", found=found, true=true)
    (tmp_path / "list.txt").write_text("rows.h5\n")
    made: list[SGDSolver] = []

    def make_solver(settings: str = "", net: str = NET, kind: str = "detection") -> SGDSolver:
        Path("net.prototxt").write_text(net)
        Path("solver.prototxt").write_text(
            'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 1 test_iter: 2 test_interval: 1 '
            f'snapshot_after_train: false eval_type: "{kind}" {settings}'
        )
        made.append(get_solver("solver.prototxt", engine=engine))
        return made[-1]

    yield make_solver
    for solver in made:
        solver.close()


# Label 1: scores .9 right, .8 right, .7 wrong; three boxes. Label 2: .6 right, .5 and .4 wrong; one box. Label 3: none.
MEANS = {"Integral": (2 / 3 + 1) / 3, "MaxIntegral": (2 / 3 + 1) / 3, "11point": (7 / 11 + 1) / 3}


@pytest.mark.parametrize("version", MEANS)
def test_a_test_logs_the_mean_average_precision(
    make: Callable[..., SGDSolver], version: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    solver = make(f'ap_version: "{version}" show_per_class_result: true')
    solver.test_all()
    (scores,) = solver.test_scores[0].values()
    assert abs(scores[0] - MEANS[version]) < 1e-6
    lines = caplog.messages[caplog.messages.index("Iteration 0, Testing net (#0)") + 1 :]
    first = 7 / 11 if version == "11point" else 2 / 3
    assert [line for line in lines if not line.startswith("Restarting")] == [
        f"class1: {first:g}",
        "class2: 1",
        "Missing true_pos for label: 3",
        f"    Test net output #0: detection_eval = {MEANS[version]:g}",
    ]


def test_classes_are_not_shown_unasked(make: Callable[..., SGDSolver], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    make().test_all()
    assert not any(line.startswith("class") for line in caplog.messages)
    assert f"    Test net output #0: detection_eval = {MEANS['Integral']:g}" in caplog.messages


def test_a_whole_run_of_the_solver(make: Callable[..., SGDSolver], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    make("test_compute_loss: true").solve()
    assert sum("Test net output #0: detection_eval" in line for line in caplog.messages) == 2
    assert caplog.messages.count("Test loss: 0") == 2


def test_rows_in_the_form_of_cascade_rcnn(make: Callable[..., SGDSolver]) -> None:
    reshape = 'layer { name: "rows2" type: "Reshape" bottom: "detection_eval" top: "rows2" include { phase: TEST } '
    reshape += "reshape_param { shape { dim: -1 dim: 5 dim: 1 dim: 1 } } }"
    solver = make(net=NET + reshape)
    solver.test_all()
    assert abs(solver.test_scores[0]["rows2"][0] - MEANS["Integral"]) < 1e-6


def test_outputs_of_another_kind_are_refused(make: Callable[..., SGDSolver]) -> None:
    net = NET.replace('name: "eval" type: "DetectionEvaluate"', 'name: "eval" type: "Concat"')
    net = net.replace('bottom: "found" bottom: "true" top: "detection_eval"', 'bottom: "found" top: "detection_eval"')
    net = net.replace("detection_evaluate_param { num_classes: 4 }", "")
    with pytest.raises(NetError, match=r"output '\w+' has the shape .* rows of DetectionEvaluate"):
        make(net=net).test_all()


def test_settings_that_cannot_work(make: Callable[..., SGDSolver]) -> None:
    with pytest.raises(SolverError, match=r"unknown ap_version '12point'. Use one of 11point, 101point, MaxIntegral"):
        make('ap_version: "12point"')
    with pytest.raises(SolverError, match="unknown eval_type 'segmentation'"):
        make(kind="segmentation")
