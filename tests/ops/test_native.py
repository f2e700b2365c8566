"""C++ compiled where it is used: once, for whoever comes after, and never to anybody's harm."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

pytest.importorskip("torch")

SCRIPT = """
import logging
logging.basicConfig(format="%(message)s", level=logging.INFO)
from caffe_lite.ops.native import library
print("there" if library("winograd.cpp") else "not there")
"""

needs_compiler = pytest.mark.skipif(
    "CI" not in os.environ and (sys.platform == "win32" or which(os.environ.get("CXX", "g++")) is None),
    reason="there is no C++ compiler that takes GCC's options",
)


def run(cache: Path, **more: str) -> tuple[str, str]:
    """What a process of its own, with this cache, says and logs."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(cache), **more}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_it_is_compiled_once(tmp_path):
    said, log = run(tmp_path)
    assert said == "there" and "Compiling winograd.cpp" in log
    (built,) = tmp_path.rglob("*.so")
    when = built.stat().st_mtime_ns
    said, log = run(tmp_path)
    assert said == "there" and "Compiling" not in log
    assert built.stat().st_mtime_ns == when


@needs_compiler
def test_two_at_once(tmp_path):
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", SCRIPT], env=env, stdout=subprocess.PIPE) for _ in "ab"]
    assert [process.communicate()[0].split() for process in both] == [[b"there"]] * 2
    assert len(list(tmp_path.rglob("winograd-*"))) == 1


def test_without_a_compiler(tmp_path):
    assert run(tmp_path, CXX="no-such-compiler") == ("not there", "")


def test_left_out_by_wish(tmp_path):
    assert run(tmp_path, CAFFE_LITE_NATIVE="0") == ("not there", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script")
def test_a_compiler_that_fails(tmp_path):
    said, log = run(tmp_path, CXX=program(tmp_path / "c++", "echo 'no such option: -fopenmp' >&2; exit 1"))
    assert said == "not there"
    assert log == "Going on without winograd.cpp, which cannot be compiled here: no such option: -fopenmp\n"
    assert not list(tmp_path.rglob("winograd*"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script")
def test_a_compiler_that_makes_nothing_of_use(tmp_path):
    said, log = run(tmp_path, CXX=program(tmp_path / "c++", "exit 0"))
    assert said == "not there"
    assert "Going on without winograd.cpp" in log
    assert not list(tmp_path.rglob("winograd*"))


@needs_compiler
def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    said, log = run(tmp_path / "file")
    assert said == "not there"
    assert "Going on without winograd.cpp" in log
