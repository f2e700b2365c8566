from __future__ import annotations

import csv

import pytest

from tests.logs.test_training_log import GOLDEN


def table(path, delimiter=","):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def test_the_originals_log(caffe, folder):
    result = caffe("parse-log", str(GOLDEN))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    test = table(folder / f"{GOLDEN.name}.test")
    assert list(test[-1]) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    assert (test[-1]["NumIters"], test[-1]["accuracy"], test[-1]["loss"]) == ("10000.0", "0.8949", "0.317971")
    assert len(table(folder / f"{GOLDEN.name}.train")) == 100


@pytest.mark.parametrize(("given", "delimiter"), [(";", ";"), ("\\t", "\t")])
def test_our_own_log(caffe, folder, given, delimiter):
    trained = caffe("train", "solver.prototxt", "--display", "5")
    (folder / "run.log").write_text(trained.stderr)
    (folder / "out").mkdir()
    result = caffe("parse-log", "run.log", "out", "--verbose", f"--delimiter={given}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.replace("\\", "/") == "Wrote out/run.log.train\nWrote out/run.log.test\n"
    assert [row["NumIters"] for row in table(folder / "out/run.log.train", delimiter)] == ["0.0", "5.0", "10.0", "15.0"]
    tests = table(folder / "out/run.log.test", delimiter)
    assert [row["NumIters"] for row in tests] == ["0.0", "10.0", "20.0"]
    assert f"accuracy = {float(tests[-1]['accuracy']):g}" in trained.stdout


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.log"], 1, "nowhere.log: cannot read this log: No such file or directory"),
        (["net.prototxt"], 1, "net.prototxt: no training is logged in this file"),
        ([str(GOLDEN), "nowhere"], 1, "Make the folder first"),
        ([str(GOLDEN), "--delimiter", "ab"], 2, "'ab' is not one character"),
    ],
)
def test_errors(caffe, folder, words, status, message):
    result = caffe("parse-log", *words)
    assert result.returncode == status
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
