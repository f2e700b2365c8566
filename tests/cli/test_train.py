from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caffe_lite.proto.prototxt import read_net

from .conftest import ROOT, command, environment
from .test_test import messages

TRAIN = ("train", "solver.prototxt")
ENDLESS = ("--max-iter", "1000000", "--display", "1", "--set", "test_interval=1000000", "--set", "snapshot=0")


def weights(folder: Path, iteration: int) -> bytes:
    return (folder / f"stripes_iter_{iteration}.caffemodel").read_bytes()


def test_a_solver(caffe, folder, engine):
    result = caffe(*TRAIN, "--engine", engine)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(
        r"Finished after 20 iterations\.\n"
        r"Test at iteration 20: accuracy = (?:1|0\.9\d*), loss = [\d.e-]+\n"
        r"Weights: stripes_iter_20\.caffemodel\n"
        r"To go on from here: --snapshot stripes_iter_20\.solverstate\n",
        result.stdout,
    ), result.stdout
    for iteration in (10, 20):
        assert (folder / f"stripes_iter_{iteration}.caffemodel").is_file()
        assert (folder / f"stripes_iter_{iteration}.solverstate").is_file()
    lines = messages(result.stderr)
    assert lines[0] == "Use CPU."
    lines = [line for line in lines if not line.startswith("Memory that is freed stays")]  # logged only with glibc
    assert re.fullmatch(rf"Engine: {engine}, on \d+ threads.*", lines[1])


@pytest.mark.parametrize("spelling", [["-solver", "solver.prototxt"], ["--solver=solver.prototxt"]])
def test_caffes_spelling(caffe, spelling):
    assert caffe("train", *spelling, "-max_iter=3", "-test_interval=3").stdout.startswith(
        "Finished after 3 iterations."
    )


def test_a_net_alone(caffe, folder):
    result = caffe("train", "net.prototxt", "--max-iter", "30", "--test-iter", "2", "--base-lr", "0.1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Finished after 30 iterations.\nTest at iteration 0: accuracy = ")
    assert (folder / "net_iter_30.caffemodel").is_file()
    settings = result.stderr.partition("Initializing solver from parameters: \n")[2]
    for default in ('lr_policy: "fixed"', "momentum: 0.9", "weight_decay: 0.0005", "test_interval: 500", 'type: "SGD"'):
        assert f"\n{default}\n" in settings


def test_a_net_without_test_data_is_not_tested(caffe, folder):
    net = read_net(folder / "net.prototxt").message
    del net.layer[1]
    (folder / "net.prototxt").write_text(str(net))
    result = caffe("train", "net.prototxt", "--max-iter", "2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Finished after 2 iterations.\nWeights:")
    assert "test net" not in result.stderr


def test_settings_go_over_those_in_the_file(caffe, folder):
    result = caffe(
        *TRAIN,
        *("--max-iter", "4", "--type", "Adam", "--snapshot-prefix", "other"),
        *("--set", "iter_size=2", "--set", "stepvalue=2,3", "--lr-policy", "multistep", "--gamma", "0.1"),
        *("--set", "solver_mode=GPU", "--set", "test_state={stage: 'late'}"),
    )
    assert result.returncode == 0, result.stderr
    settings = result.stderr.partition("Initializing solver from parameters: \n")[2].partition("\nI2")[0]
    for line in ('type: "Adam"', "iter_size: 2", "stepvalue: 2\nstepvalue: 3", 'test_state {\n  stage: "late"\n}'):
        assert f"\n{line}\n" in settings + "\n"
    assert (folder / "other_iter_4.caffemodel").is_file()
    assert re.findall(r"Iteration (\d+), lr = (\S+)", result.stderr) == [("0", "0.1")]


def test_resuming_is_as_if_never_stopped(caffe, folder):
    assert caffe(*TRAIN).returncode == 0
    whole = weights(folder, 20)
    (folder / "stripes_iter_20.caffemodel").unlink()
    result = caffe(*TRAIN, "--snapshot", "stripes_iter_10.solverstate")
    assert result.returncode == 0, result.stderr
    assert "Resuming from stripes_iter_10.solverstate" in messages(result.stderr)
    assert weights(folder, 20) == whole


def test_resuming_does_not_need_the_weights_that_training_began_with(caffe, folder):
    assert caffe(*TRAIN).returncode == 0
    whole = weights(folder, 20)
    text = (folder / "solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(text + '\nweights: "gone.caffemodel"\n')
    missing = caffe(*TRAIN)
    assert missing.returncode == 1 and "gone.caffemodel: there is no such file" in missing.stderr
    assert "Starting Optimization" not in messages(missing.stderr)
    result = caffe(*TRAIN, "--snapshot", "stripes_iter_10.solverstate")
    assert result.returncode == 0, result.stderr
    assert weights(folder, 20) == whole


def test_fine_tuning_starts_from_the_weights(caffe):
    assert caffe(*TRAIN).returncode == 0
    result = caffe(*TRAIN, "--weights", "stripes_iter_20.caffemodel", "--max-iter", "1")
    assert result.returncode == 0, result.stderr
    (accuracy,) = re.findall(r"Test net output #0: accuracy = (\S+)", result.stderr)
    assert float(accuracy) > 0.9


def test_one_seed_one_result(caffe, folder):
    runs = []
    for _ in range(2):
        assert caffe(*TRAIN).returncode == 0
        runs.append(weights(folder, 20))
    assert runs[0] == runs[1]


def test_the_level_and_the_stages_choose_layers(caffe, folder):
    text = (folder / "net.prototxt").read_text()
    rules = "include { phase: TEST } include { stage: 'scored' min_level: 2 }"
    (folder / "net.prototxt").write_text(text.replace("include { phase: TEST } }", rules + " }"))
    plain = caffe(*TRAIN, "--max-iter", "1")
    scored = caffe(*TRAIN, "--max-iter", "1", "-stage", "scored", "-level", "2")
    assert "Train net output #1: loss" not in plain.stderr
    assert re.search(r"Train net output #0: accuracy = .*\n.*Train net output #1: loss = ", scored.stderr), (
        scored.stderr
    )


def test_quiet(caffe, monkeypatch):
    monkeypatch.setattr("tests.cli.conftest.environment", lambda: environment() | {"GLOG_minloglevel": "2"})
    result = caffe(*TRAIN)
    assert result.stderr == ""
    assert "Test at iteration 20: accuracy = " in result.stdout


# -- signals ---------------------------------------------------------------------------------------------------------


@contextmanager
def training(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a training process and wait until it has done some iterations."""
    process = subprocess.Popen(
        command(*TRAIN, *arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        read_until(process, "Iteration 3 ")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"it ended before it said {text!r}: {''.join(lines)}")


posix = pytest.mark.skipif(os.name != "posix", reason="no such signals to send on Windows")


@posix
def test_ctrl_c_stops_with_a_snapshot_to_go_on_from(folder, caffe):
    with training(folder, *ENDLESS) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Optimization stopped early." in messages(err)
    stopped, state = re.fullmatch(
        r"Stopped after (\d+) iterations\.\n(?:Test .*\n)?Weights: .*\nTo go on from here: --snapshot (.*)\n", out
    ).groups()
    assert state == f"stripes_iter_{stopped}.solverstate"
    resumed = caffe(*TRAIN, *ENDLESS, "--max-iter", str(int(stopped) + 2), "--snapshot", state)
    assert resumed.stdout.startswith(f"Finished after {int(stopped) + 2} iterations.")


@posix
def test_hanging_up_takes_a_snapshot_and_goes_on(folder):
    with training(folder, *ENDLESS) as process:
        process.send_signal(signal.SIGHUP)
        lines = read_until(process, "Snapshotting solver state")
        iteration = int(re.search(r"stripes_iter_(\d+)\.solverstate", lines[-1])[1])
        read_until(process, f"Iteration {iteration + 3} ")
        assert process.poll() is None
    assert (folder / f"stripes_iter_{iteration}.solverstate").is_file()


@posix
def test_the_effects_can_be_exchanged(folder):
    with training(folder, *ENDLESS, "-sigint_effect=none", "-sighup_effect", "stop") as process:
        process.send_signal(signal.SIGINT)
        read_until(process, "Iteration ")
        read_until(process, "Iteration ")
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("Stopped after ")


@posix
def test_ctrl_c_elsewhere_is_quiet(folder):
    process = subprocess.Popen(
        command("time", "--model", "net.prototxt", "--iterations", "1000000"),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    read_until(process, "Iteration: 2 ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "caffe-lite" not in err


# -- on a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
def test_the_progress_bar_and_the_log_never_mix(folder):
    out, screen = on_a_terminal(folder, *TRAIN, "--max-iter", "400", "--set", "test_interval=100")
    assert out.startswith("Finished after 400 iterations.")
    assert re.search(r"\d+%\|.*\| \d+/400 \[.*it/s, loss [\d.e-]+\]", screen), screen[-2000:]
    assert "\r" in screen
    # The part of each line that stays on the screen: the text after its last carriage return.
    lines = [shown for line in screen.replace("\r\n", "\n").split("\n") if (shown := line.rpartition("\r")[2].strip())]
    logged = [line for line in lines if "] " in line and re.search(r"\.py:\d+\]", line)]
    assert all(re.match(r"[IWE]\d{4} ", line) for line in logged), [
        x for x in logged if not re.match(r"[IWE]\d{4} ", x)
    ]
    assert sum("Iteration 100, Testing net" in line for line in logged) == 1
    assert not any("%|" in line and "py:" in line for line in lines)


def test_no_progress_bar_in_a_file(caffe):
    result = caffe(*TRAIN)
    assert "%|" not in result.stderr
    assert "\r" not in result.stderr


def on_a_terminal(folder: Path, *arguments: str) -> tuple[str, str]:
    """Return what a command writes to standard output, a pipe, and to standard error, a terminal."""
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(command(*arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    screen = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux's sign that the other end is closed
            break
        if not part:
            break
        screen += part
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, screen.decode()
    return out.decode(), screen.decode()


# -- the log ---------------------------------------------------------------------------------------------------------

# Lines that only our log has.
OURS_ONLY = r"Engine: \w+, on \d+ threads.*|Memory that is freed stays with this process, .*"
NUMBER = r"-?(?:\d[\d.]*(?:e[+-]\d+)?|inf|nan)"
FORMS = [
    r"Use CPU\.",
    r"Initializing solver from parameters: ",
    r"Creating training net from net file: \S+",
    r"The NetState phase \([01]\) differed from the phase \([01]\) specified by a rule in layer \S+",
    r"Initializing net from parameters: ",
    r"Creating layer \S+",
    r"Opened lmdb \S+",
    r"Creating Layer \S+",
    r"\S+ <- \S+",
    r"\S+ -> \S+",
    r"\S+ -> \S+ \(in-place\)",
    r"output data size: \d+,\d+,\d+,\d+",
    r"Setting up \S+",
    r"Top shape: (?:\d+ )*\(\d+\)",
    r"    with loss weight \d+",
    r"Memory required for data: \d+",
    r"\S+ needs backward computation\.",
    r"\S+ does not need backward computation\.",
    r"This network produces output \S+",
    r"Network initialization done\.",
    r"Creating test net \(#0\) specified by net file: \S+",
    r"Solver scaffolding done\.",
    r"Starting Optimization",
    r"Solving \S+",
    r"Learning Rate Policy: \w+",
    r"Iteration \d+, Testing net \(#0\)",
    r"Restarting data prefetching from start\.",
    rf"    Test net output #0: accuracy = {NUMBER}",
    rf"    Test net output #1: loss = {NUMBER} \(\* 1 = {NUMBER} loss\)",
    rf"Iteration \d+ \({NUMBER} iter/s, {NUMBER}s/\d+ iters\), loss = {NUMBER}",
    rf"    Train net output #0: loss = {NUMBER} \(\* 1 = {NUMBER} loss\)",
    rf"Iteration \d+, lr = {NUMBER}",
    r"Snapshotting to binary proto file \S+_iter_\d+\.caffemodel",
    r"Snapshotting solver state to binary proto file \S+_iter_\d+\.solverstate",
    rf"Iteration \d+, loss = {NUMBER}",
    r"Optimization Done\.",
]


def test_every_line_has_the_form_of_caffes(caffe):
    caffes = (ROOT / "tests/golden/logs/train_lenet_fashion_mnist.log").read_text()
    ours = caffe(*TRAIN).stderr
    for log in (messages(caffes), messages(ours)):
        assert [form for form in FORMS if not any(re.fullmatch(form, line) for line in log)] == []
        assert [line for line in log if not any(re.fullmatch(form, line) for form in [*FORMS, OURS_ONLY])] == []


def test_a_log_parser_reads_the_same_tables_from_both(caffe):
    caffes = parse((ROOT / "tests/golden/logs/train_lenet_fashion_mnist.log").read_text())
    ours = parse(caffe(*TRAIN).stderr)
    for name in ("train", "test"):
        assert [set(row) for row in ours[name].values()] == [set(next(iter(caffes[name].values())))] * len(ours[name])
    assert list(ours["train"]) == [0, 10]
    assert list(ours["test"]) == [0, 10, 20]
    assert [row["lr"] for row in ours["train"].values()] == [0.1, 0.1]
    assert all(0 <= row["accuracy"] <= 1 for row in ours["test"].values())
    assert all(0 <= row["seconds"] < 60 for table in ours.values() for row in table.values())


def parse(log: str) -> dict[str, dict[int, dict[str, float]]]:
    """Make tables of losses and scores by iteration, like the scripts that people keep for Caffe's logs."""
    tables: dict[str, dict[int, dict[str, float]]] = {"train": {}, "test": {}}
    iteration, start = -1, None
    for line in log.splitlines():
        if not (head := re.match(r"[IWEF](?:\d{4}){1,2} (\d+):(\d+):([\d.]+) +\d+ \w+\.\w+:\d+\] ", line)):
            continue
        seconds = int(head[1]) * 3600 + int(head[2]) * 60 + float(head[3])
        start = seconds if start is None else start
        if found := re.search(r"Iteration (\d+)", line):
            iteration = int(found[1])
        if found := re.search(r"(Train|Test) net output #\d+: (\S+) = ([.\deE+-]+)", line):
            tables[found[1].lower()].setdefault(iteration, {"seconds": seconds - start})[found[2]] = float(found[3])
        if found := re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line):
            tables["train"][iteration]["lr"] = float(found[1])
    return tables


@pytest.mark.parametrize(
    ("option", "what"),
    [
        (("--base-lr", "-1"), "--base-lr -1: base_lr is -1"),
        (("--set", "momentum=2"), "--set momentum=2: momentum 2 should lie between 0 and 1"),
        (("--snapshot-prefix", "no/folder/x"), "--snapshot-prefix no/folder/x: Cannot write to snapshot prefix"),
    ],
)
@pytest.mark.parametrize("file", ["solver.prototxt", "net.prototxt"])
def test_a_setting_that_cannot_work_is_told_as_it_was_given(caffe, file, option, what):
    result = caffe("train", file, "--max-iter", "1", *option)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"caffe-lite: {what}")
