"""The command line in general: finding the command, its spellings, its hints, its exit status."""

from __future__ import annotations

import subprocess
import sys

import pytest

from caffe_lite.cli import COMMANDS
from caffe_lite.cli.arguments import spelled_with_dashes

from .conftest import command, environment


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(caffe, words):
    result = caffe(*words)
    assert result.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


def test_no_command_shows_the_help_and_fails(caffe):
    result = caffe()
    assert result.returncode == 2
    assert "usage: caffe-lite COMMAND" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(caffe, name):
    result = caffe(name, "--help")
    assert result.returncode == 0
    assert f"usage: caffe-lite {name}" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'. Did you mean train?"),
        (["frobnicate"], "there is no command 'frobnicate'. The commands are train, test,"),
        (["solver.prototxt"], "To train: caffe-lite train solver.prototxt"),
        (["elsewhere.prototxt"], "To train: caffe-lite train elsewhere.prototxt"),
        (["--solver=solver.prototxt"], "a command must come first"),
        (["train", "solver.prototxt", "--max-itr", "5"], "unknown argument --max-itr. Did you mean --max-iter?"),
        (["train"], "give one solver or net to train"),
        (["train", "solver.prototxt", "--solver", "solver.prototxt"], "give one solver or net to train"),
        (["test", "--model", "net.prototxt"], "required: --weights"),
        (["time", "--model", "net.prototxt", "--iterations", "0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_with_a_hint(caffe, words, message):
    result = caffe(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("caffe-lite: ")
    assert message in line


def test_caffes_spellings():
    given = [
        "-solver",
        "a_b.prototxt",
        "-max_iter=5",
        "--sigint_effect=none",
        "--set",
        "base_lr=-1",
        "-1",
        "--x=a_b=-c_d",
    ]
    ours = [
        "--solver",
        "a_b.prototxt",
        "--max-iter=5",
        "--sigint-effect=none",
        "--set",
        "base_lr=-1",
        "-1",
        "--x=a_b=-c_d",
    ]
    assert spelled_with_dashes(given) == ours


def test_flags_may_come_before_the_command(caffe):
    result = caffe("-model=net.prototxt", "-iterations=1", "time")
    assert result.returncode == 0, result.stderr
    assert "Testing for 1 iterations." in result.stderr


def test_traceback_shows_where_an_error_comes_from(caffe):
    result = caffe("summary", "nowhere.prototxt", "--traceback")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "no such file" in result.stderr.splitlines()[-1]


def test_a_reader_that_goes_away_is_no_error_of_ours(folder):
    layers = "".join(f'layer {{ name: "{i:0200}" type: "ReLU" bottom: "data" top: "data" }}\n' for i in range(400))
    (folder / "long.prototxt").write_text('layer { name: "data" type: "Input" top: "data" }\n' + layers)
    process = subprocess.Popen(
        command("summary", "long.prototxt"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == 1


def test_only_the_command_that_runs_is_imported(folder):
    code = """
import sys
from caffe_lite.cli import main
main(["summary", "net.prototxt"])
print([name for name in ("torch", "cv2", "h5py", "tqdm", "matplotlib", "caffe_lite.cli.train", "caffe_lite.cli.time")
       if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert result.stderr == "[]\n"
