from __future__ import annotations

import os
import subprocess

import pytest

from .conftest import command, environment

pytest.importorskip("matplotlib")

SHORT = ("train", "solver.prototxt", "--display", "2")


def test_the_picture_shows_loss_and_accuracy_to_the_end(caffe, folder):
    result = caffe(*SHORT, "--plot", "run.svg")
    assert result.returncode == 0, result.stderr
    picture = (folder / "run.svg").read_text()
    for text in ("Stripes", "train loss", "test loss", "test accuracy", "Iters"):
        assert f"<!-- {text} -->" in picture
    assert not list(folder.glob(".run*"))


def test_it_is_there_while_training_goes_on(folder):
    words = ("--max-iter", "1000000", "--set", "test_interval=1000000", "--set", "snapshot=0", "--plot", "run.png")
    with subprocess.Popen(
        command(*SHORT, *words), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if (folder / "run.png").exists():
                    break
                assert "not drawn" not in line
            assert process.poll() is None
            # The file is renamed when it is complete: never half a file.
            assert (folder / "run.png").read_bytes()[-8:-4] == b"IEND"
        finally:
            process.kill()


def test_a_picture_that_cannot_be_drawn_does_not_end_the_training(caffe, folder):
    result = caffe(*SHORT, "--plot", os.path.join("nowhere", "run.png"))
    assert result.returncode == 0
    assert result.stdout.startswith("Finished after 20 iterations.")
    warnings = [line for line in result.stderr.splitlines() if line.startswith("W")]
    assert len(warnings) == 1
    assert "The picture is not drawn: " in warnings[0]
    assert "Make the folder first" in warnings[0]


def test_a_format_that_is_none_is_told_before_training(caffe, folder):
    result = caffe(*SHORT, "--plot", "run.jpeg2")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("caffe-lite: run.jpeg2: a picture of what format? End its name")
    assert "Iteration" not in result.stderr
