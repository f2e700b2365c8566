from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from caffe_lite.logs.plotting import CHARTS, chart_points, plot_run
from caffe_lite.logs.training_log import read_training_log
from tests.logs.test_training_log import GOLDEN

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


def test_names_are_drawn_as_they_are(caffe, folder):
    """To matplotlib, $ encloses formulas, and a name that starts with _ is not shown."""
    name = r"_loss$x$\foo$"
    lines = GOLDEN.read_text().replace(": loss = ", f": {name} = ")
    for log in ("_a$b$.log", r"b$\c{$.log"):
        (folder / log).write_text(lines)
    result = caffe("plot-log", "2", "chart.svg", "_a$b$.log", r"b$\c{$.log")
    assert (result.returncode, result.stderr) == (0, "")
    picture = (folder / "chart.svg").read_text()
    assert "<!-- _a$b$ -->" in picture and r"<!-- b$\c{$ -->" in picture
    plot_run(read_training_log(folder / "_a$b$.log"), folder / "run.svg", "$title$")
    picture = (folder / "run.svg").read_text()
    assert f"<!-- test {name} -->" in picture and "<!-- $title$ -->" in picture


def test_values_that_no_picture_can_show(caffe, folder):
    """Such values leave gaps in the line."""
    values = iter(["nan", "inf", "-inf", "1e308", "-1e308", "1e999"])
    lines = re.sub(r"(?<=Test net output #1: loss = )\S+", lambda found: next(values, found[0]), GOLDEN.read_text())
    (folder / "train.log").write_text(lines)
    result = caffe("plot-log", "2", "chart.png", "train.log")
    assert (result.returncode, result.stderr) == (0, "")


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
