"""C++ compiled on the machine that uses it: only once, for all later processes, and never to anyone's harm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from caffe_lite.ops.cores import usable_cores
from caffe_lite.ops.torch.kernels import native

SCRIPT = """
import fcntl, logging, os, sys, threading
logging.basicConfig(format="%(message)s", level=logging.INFO)
from caffe_lite.ops.torch.kernels import native
{before}
print("there" if native.library("winograd.cpp") else "not there")
"""
USER = 4242  # a user ID that nobody has

needs_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to others, or become another user"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs owners, modes and shell scripts")


def environment(cache: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAFFE_LITE")}
    return {**kept, "XDG_CACHE_HOME": str(cache), "HOME": str(cache), **more}


def start(cache: Path, before: str = "", **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT.format(before=before)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(cache, **more), stdout=pipe, stderr=pipe, text=True)


def run(cache: Path, before: str = "", **more: str) -> tuple[str, str]:
    """Return the output and the log of a separate process with this cache."""
    process = start(cache, before, **more)
    out, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    return out.strip(), log


def kept(cache: Path) -> list[str]:
    """Return the kernels in the cache; two of the same name are two entries."""
    return sorted(path.name.partition("-")[0] for path in cache.rglob("*.so"))


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


ALL = ["batch_norm", "depthwise", "max_pooling", "winograd", "winograd_rows"]


@pytest.fixture
def house() -> Iterator[Path]:
    """Make a folder that every user can enter, unlike those of pytest."""
    folder = Path(os.path.realpath(tempfile.mkdtemp()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


MARK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
__attribute__((constructor)) static void mark(void) {
    Dl_info self;
    dladdr((void *)mark, &self);
    if (strstr(self.dli_fname, "winograd-")) fopen("PATH", "w");
}
"""


@pytest.fixture
def cxx(quick_compiler: Callable[..., str], tmp_path: Path) -> str:
    """Make a compiler whose libraries for winograd.cpp create a file ``loaded`` when they are loaded."""
    return quick_compiler("marking", code=MARK.replace("PATH", str(tmp_path / "loaded")))


@posix
def test_the_kernels_are_compiled_once(tmp_path, quick_compiler):
    cxx = quick_compiler()
    said, log = run(tmp_path, CXX=cxx)
    assert said == "there" and "Compiling winograd.cpp" in log
    assert kept(tmp_path) == ALL
    when = [path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")]
    said, log = run(tmp_path, CXX=cxx)
    assert (said, log) == ("there", "")
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")] == when


@posix
def test_the_first_kernel_that_is_needed_brings_all_side_by_side(tmp_path, quick_compiler):
    said, _ = run(tmp_path, CXX=quick_compiler(seconds=0.5))
    assert said == "there" and kept(tmp_path) == ALL
    begun = (tmp_path / "compiled").read_text().split()
    assert sorted(begun) == sorted(["begin", "end"] * len(ALL))
    assert begun[1] == ("begin" if usable_cores() > 1 else "end")


@posix
def test_of_several_at_once_one_compiles(tmp_path, quick_compiler):
    cxx = quick_compiler(seconds=0.5)
    processes = [start(tmp_path, CXX=cxx) for _ in range(3)]
    assert [process.communicate()[0].split() for process in processes] == [["there"]] * 3
    assert (tmp_path / "compiled").read_text().count("begin") == len(ALL)
    assert kept(tmp_path) == ALL


@posix
def test_a_process_killed_in_the_middle_leaves_nothing_that_is_used(tmp_path, quick_compiler):
    process = start(tmp_path, CXX=quick_compiler("slow", seconds=5))
    compiled = tmp_path / "compiled"
    end = monotonic() + 60
    while compiled.read_text().count("begin") < min(2, usable_cores()):
        assert monotonic() < end
        sleep(0.05)
    process.kill()
    process.communicate()
    assert kept(tmp_path) == []
    (cache,) = tmp_path.glob("caffe_lite")
    assert list(cache.glob(".winograd-*"))
    assert run(tmp_path, CXX=quick_compiler())[0] == "there"
    assert kept(tmp_path) == ALL
    assert not list(cache.glob(".*"))


@posix
def test_who_waits_goes_on_when_the_other_is_killed(tmp_path, quick_compiler):
    first = start(tmp_path, CXX=quick_compiler("slow", seconds=30))
    compiled = tmp_path / "compiled"
    end = monotonic() + 60
    while "begin" not in compiled.read_text():
        assert monotonic() < end
        sleep(0.05)
    second = start(tmp_path, CXX=quick_compiler())
    sleep(1)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    assert second.communicate(timeout=25)[0].split() == ["there"]
    first.communicate()


def test_without_a_compiler(tmp_path):
    assert run(tmp_path, CXX="no-such-compiler") == ("not there", "")


def test_left_out_by_wish(tmp_path):
    assert run(tmp_path, CAFFE_LITE_NATIVE="0") == ("not there", "")


@posix
def test_a_compiler_that_fails(tmp_path):
    said, log = run(tmp_path, CXX=program(tmp_path / "c++", "echo 'no such option: -fopenmp' >&2; exit 1"))
    assert said == "not there"
    assert log == ("Going on without winograd.cpp, which cannot be compiled or loaded here: no such option: -fopenmp\n")
    assert not list(tmp_path.rglob("winograd*"))


@posix
def test_a_compiler_that_makes_nothing_of_use(tmp_path):
    said, log = run(tmp_path, CXX=program(tmp_path / "c++", "exit 0"))
    assert said == "not there"
    assert "Going on without winograd.cpp" in log
    assert kept(tmp_path) == []


@posix
def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, cxx):
    (tmp_path / "file").write_text("")
    said, log = run(tmp_path / "file", CXX=cxx, TMPDIR=str(tmp_path))
    assert said == "there" and (tmp_path / "loaded").exists()
    assert log.count("Compiled kernels serve this process only, and are not kept") == 1
    assert not list(tmp_path.glob(".*"))  # the folder they were compiled in is gone


@posix
def test_the_umask_opens_nothing(tmp_path, cxx):
    assert run(tmp_path / "new", "os.umask(0)", CXX=cxx)[0] == "there"
    (tmp_path / "loaded").unlink()
    said, log = run(tmp_path / "new", CXX=cxx)
    assert (said, log) == ("there", "")


@posix
def test_a_variable_names_the_folder(tmp_path, cxx):
    place = tmp_path / "over" / "there"
    assert run(tmp_path, CXX=cxx, CAFFE_LITE_CACHE=str(place))[0] == "there"
    assert kept(place) == kept(tmp_path) == ALL


@posix
def test_a_cache_below_a_folder_that_is_no_path_is_at_home(tmp_path, cxx):
    assert run(tmp_path, CXX=cxx, XDG_CACHE_HOME="relative")[0] == "there"
    assert kept(tmp_path / ".cache") == ALL


# -- trust -----------------------------------------------------------------------------------------------------------


def loads(tmp_path: Path, harm: Callable[[Path], object], cxx: str, other: str, before: str = "") -> tuple[bool, str]:
    """Return whether a kernel in the cache is loaded after ``harm`` to it, and the log of the loading process."""
    cache = tmp_path / "a" / "b"
    assert run(cache, CXX=cxx)[0] == "there"
    (built,) = cache.rglob("winograd-*.so")
    (tmp_path / "loaded").unlink()
    harm(built)
    said, log = run(cache, before, CXX=other)
    assert said == "there"
    return (tmp_path / "loaded").exists(), log


def link(built: Path) -> None:
    elsewhere = built.parents[1] / built.name
    built.rename(elsewhere)
    built.symlink_to(elsewhere)


def link_folder(built: Path) -> None:
    elsewhere = built.parents[1] / "elsewhere"
    built.parent.rename(elsewhere)
    built.parent.symlink_to(elsewhere)


TRUSTED = {
    "as it is": lambda built: None,
    "below a folder like /tmp": lambda built: built.parents[2].chmod(0o1777),
    "a link to a folder of ours": link_folder,
}
UNTRUSTED = {
    "group may write into the folder": lambda built: built.parent.chmod(0o775),
    "all may write into the folder": lambda built: built.parent.chmod(0o1777),
    "group may swap the folder": lambda built: built.parents[1].chmod(0o770),
    "all may swap the folder above": lambda built: built.parents[2].chmod(0o777),
}
REPLACED = {
    "group may write into the file": lambda built: built.chmod(0o664),
    "a link": link,
    "cut short": lambda built: os.truncate(built, built.stat().st_size // 2),
    "empty": lambda built: os.truncate(built, 0),
    "something more in it": lambda built: built.write_bytes(built.read_bytes() + b"!"),
    "a pipe": lambda built: (built.unlink(), os.mkfifo(built)),
}


@posix
@pytest.mark.parametrize("harm", TRUSTED.values(), ids=TRUSTED)
def test_what_nobody_else_can_change_is_loaded(tmp_path, cxx, quick_compiler, harm):
    assert loads(tmp_path, harm, cxx, quick_compiler()) == (True, "")


@posix
@pytest.mark.parametrize("harm", UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_folder_that_others_can_change_is_not_used(tmp_path, cxx, quick_compiler, harm):
    loaded, log = loads(tmp_path, harm, cxx, quick_compiler())
    assert not loaded
    assert log.count("others than its owner may write there") == log.count("chmod go-w") == 1
    assert kept(tmp_path) == ALL


@posix
@pytest.mark.parametrize("harm", REPLACED.values(), ids=REPLACED)
def test_a_file_that_is_not_what_was_kept_is_made_anew(tmp_path, cxx, quick_compiler, harm):
    loaded, log = loads(tmp_path, harm, cxx, quick_compiler())
    assert not loaded and "Compiled winograd.cpp" in log
    cache = tmp_path / "a" / "b"
    assert kept(cache / "caffe_lite") == ALL
    assert run(cache, CXX=quick_compiler()) == ("there", "")


@needs_root
@pytest.mark.parametrize("level", [0, 1, 2])
def test_root_trusts_no_folder_of_a_user(tmp_path, cxx, quick_compiler, level):
    loaded, log = loads(tmp_path, lambda built: os.chown(built.parents[level], USER, USER), cxx, quick_compiler())
    assert not loaded
    assert log.count(f"it belongs to user {USER}") == 1


@needs_root
def test_root_trusts_no_file_of_a_user(tmp_path, cxx, quick_compiler):
    loaded, _ = loads(tmp_path, lambda built: os.chown(built, USER, USER), cxx, quick_compiler())
    assert not loaded
    assert {path.stat().st_uid for path in tmp_path.rglob("*.so")} == {0}


# Everything is imported by then: the interpreter itself may be where this user has no access.
BECOME = f"os.setgroups([]); os.setgid({USER}); os.setuid({USER}); open(native.__file__).close()"


def as_user(cache: Path, cxx: str) -> tuple[str, str]:
    process = start(cache, f"import encodings.idna; {BECOME}", CXX=cxx)
    out, log = process.communicate(timeout=60)
    if "Permission" in log and "native.py" in log:
        pytest.skip("other users cannot read this package")
    assert process.returncode == 0, log
    return out.strip(), log


@needs_root
def test_a_user_trusts_roots_folder_and_does_not_write_there(house, quick_compiler):
    cxx = quick_compiler(folder=house)
    assert run(house, CXX=cxx)[0] == "there"
    assert as_user(house, cxx) == ("there", "")
    for path in house.rglob("winograd-*.so"):
        path.unlink()
    said, log = as_user(house, cxx)
    assert said == "there"
    assert log.count("cannot be written to") == 1
    assert log.count("Compiling") == 1
    assert kept(house) == [name for name in ALL if name != "winograd"]


@needs_root
def test_a_user_keeps_kernels_of_their_own(house, quick_compiler):
    cxx = quick_compiler(folder=house)
    (house / "home").mkdir()
    os.chown(house / "home", USER, USER)
    said, log = as_user(house / "home", cxx)
    assert said == "there" and "Compiling winograd.cpp" in log
    assert {path.stat().st_uid for path in (house / "home").rglob("*.so")} == {USER}
    assert as_user(house / "home", cxx) == ("there", "")


# -- the machines that a kernel is for -------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    "before",
    [
        "native._processor = lambda: b'another'",
        "native._FLAGS = (*native._FLAGS, '-g')",
        "import pathlib; native._SOURCES = pathlib.Path('HEADER')",
    ],
    ids=["processor", "options", "text"],
)
def test_a_kernel_for_another_is_not_loaded(tmp_path, cxx, quick_compiler, before):
    if "HEADER" in before:
        shutil.copytree(Path(native.__file__).parent, tmp_path / "ops", ignore=shutil.ignore_patterns("*.py", "__*"))
        with (tmp_path / "ops" / "vectors.h").open("a") as header:
            header.write("// another")
        before = before.replace("HEADER", str(tmp_path / "ops"))
    loaded, log = loads(tmp_path, lambda built: None, cxx, quick_compiler(), before)
    assert not loaded and "Compiled winograd.cpp" in log
    assert kept(tmp_path) == sorted(ALL * 2)


@posix
def test_a_kernel_by_another_compiler_is_not_loaded(tmp_path, cxx, quick_compiler):
    other = quick_compiler("newer", defines="#define __VERSION__ 2")
    loaded, _ = loads(tmp_path, lambda built: None, cxx, other)
    assert not loaded


@posix
def test_without_a_compiler_any_compilers_kernel_serves(tmp_path, cxx):
    assert loads(tmp_path, lambda built: None, cxx, "no-such-compiler") == (True, "")


@posix
def test_without_a_compiler_kernels_for_another_processor_are_not_loaded(tmp_path, cxx):
    assert run(tmp_path, CXX=cxx)[0] == "there"
    (tmp_path / "loaded").unlink()
    said, log = run(tmp_path, "native._processor = lambda: b'another'", CXX="no-such-compiler")
    assert said == "not there" and "is for another processor or version" in log
    assert not (tmp_path / "loaded").exists()


@posix
def test_a_child_has_what_its_parent_was_compiling(tmp_path, quick_compiler):
    fork = "native._compilations(); child = os.fork(); child and sys.exit(os.waitpid(child, 0)[1])"
    said, log = run(tmp_path, fork, CXX=quick_compiler(seconds=0.5))
    assert said == "there" and log.count("Compiled") == len(ALL)
