from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading

import pytest

from caffe_lite.logs.log import LogHandler, logger, start_logging

LINE = re.compile(r"([IWEF])(\d{4}) (\d\d:\d\d:\d\d\.\d{6}) +(\d+) ([\w.]+):(\d+)\] (.*)", re.DOTALL)


@pytest.fixture
def stream():
    state = logger.handlers[:], logger.level, logger.propagate
    stream = io.StringIO()
    yield stream
    logger.handlers[:], logger.level, logger.propagate = state


def test_a_line_is_glogs(stream):
    start_logging(stream)
    logger.info("Iteration %d, lr = %g", 100, 0.01)
    level, _, _, thread, file, line, message = LINE.fullmatch(stream.getvalue().rstrip("\n")).groups()
    assert (level, file, message) == ("I", "test_log.py", "Iteration 100, lr = 0.01")
    assert int(thread) == threading.get_native_id()
    assert int(line) > 0
    assert stream.getvalue().index(f"{thread} test_log") >= len("I1121 19:15:16.395696 ") + 5 - len(thread)


@pytest.mark.parametrize(
    ("level", "letter"),
    [(logging.INFO, "I"), (logging.WARNING, "W"), (logging.ERROR, "E"), (logging.CRITICAL, "F")],
)
def test_the_letter_tells_the_level(stream, level, letter):
    start_logging(stream)
    logger.log(level, "x")
    assert stream.getvalue().startswith(letter)


def test_a_message_of_several_lines_ends_without_an_empty_one(stream):
    start_logging(stream)
    logger.info("Initializing net from parameters: \n%s", 'name: "LeNet"\nstate {\n}\n')
    assert stream.getvalue().splitlines()[1:] == ['name: "LeNet"', "state {", "}"]


def test_starting_again_replaces_the_stream(stream):
    start_logging(io.StringIO())
    start_logging(stream)
    logger.info("once")
    assert sum(isinstance(handler, LogHandler) for handler in logger.handlers) == 1
    assert stream.getvalue().count("once") == 1


@pytest.mark.parametrize(("level", "shown"), [("0", "IWE"), ("1", "WE"), ("2", "E"), ("3", "")])
def test_glogs_variable_picks_the_levels(stream, monkeypatch, level, shown):
    monkeypatch.setenv("GLOG_minloglevel", level)
    start_logging(stream)
    logger.info("x")
    logger.warning("x")
    logger.error("x")
    assert "".join(line[0] for line in stream.getvalue().splitlines()) == shown


def test_a_library_logs_nothing_unasked():
    code = "from caffe_lite.logs.log import logger; logger.info('silence')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""


def test_the_log_is_switched_off_and_on_again():
    code = (
        "import caffe_lite as caffe\n"
        "caffe.init_log(); caffe.log('one'); caffe.set_logging_disabled(); caffe.log('two')\n"
        "caffe.init_log(0, False); caffe.log('three'); caffe.init_log(0, True); caffe.log('four')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stderr.splitlines()] == ["one", "four"]


@pytest.mark.parametrize(("level", "shown"), [("", True), ("0", True), ("1", False)])
def test_scripts_start_the_log_and_write_into_it(level, shown):
    code = f"import caffe_lite as caffe; caffe.init_log({level}); caffe.log('100% done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("<string>:1] 100% done\n") == shown and bool(done.stderr) == shown
