from __future__ import annotations

import shutil

import numpy as np
import pytest

from caffe_lite.plotting import CHARTS, chart_points
from caffe_lite.training_log import read_training_log

from ..test_training_log import GOLDEN

pytest.importorskip("matplotlib")


def test_the_charts_are_the_originals():
    log = read_training_log(GOLDEN)
    assert [(chart, [len(y) for _, y in chart_points(log, chart).values()]) for chart in CHARTS] == [
        ("Test accuracy vs. Iters", [21]),
        ("Test accuracy vs. Seconds", [21]),
        ("Test loss vs. Iters", [21]),
        ("Test loss vs. Seconds", [21]),
        ("Train learning rate vs. Iters", [100]),
        ("Train learning rate vs. Seconds", [100]),
        ("Train loss vs. Iters", [101]),
        ("Train loss vs. Seconds", [101]),
    ]


@pytest.mark.parametrize("chart", ["0", "7", "test accuracy", "Train loss vs. Iters"])
def test_a_picture_of_one_run(caffe, folder, chart):
    cv2 = pytest.importorskip("cv2")
    result = caffe("plot-log", chart, "chart.png", str(GOLDEN))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert np.ptp(cv2.imread(str(folder / "chart.png"))) > 100


def test_several_runs_in_one_picture(caffe, folder):
    shutil.copy(GOLDEN, folder / "first.log")
    (folder / "second.log").write_text(caffe("train", "solver.prototxt").stderr)
    result = caffe("plot-log", "6", "chart.svg", "first.log", "second.log")
    assert result.returncode == 0, result.stderr
    picture = (folder / "chart.svg").read_text()
    for text in ("first", "second", "Train loss vs. Iters"):
        assert f"<!-- {text} -->" in picture


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["8", "a.png", "train.log"], 2, "'8' is no chart: it is a number from 0 to 7 or a name"),
        (["speed", "a.png", "train.log"], 2, "'speed' is no chart"),
        (["0", "a.gif", "train.log"], 1, "a.gif: a picture of what format? End its name with .png or .svg"),
        (["0", "a.png", "nowhere.log"], 1, "nowhere.log: cannot read this log"),
        (["0", "a.png", "train.log"], 1, "nothing for the chart 'Test accuracy vs. Iters' is in this log. There is"),
    ],
)
def test_errors(caffe, folder, words, status, message):
    lines = GOLDEN.read_text().splitlines(keepends=True)
    (folder / "train.log").write_text("".join(line for line in lines if " Test" not in line))
    result = caffe("plot-log", *words)
    assert result.returncode == status
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(folder.glob("*a.*g*"))
