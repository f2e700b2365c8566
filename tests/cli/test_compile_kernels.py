"""compile-kernels compiles all kernels ahead of time, and its exit status says if all of them are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import command, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script")
NAMES = ["batch_norm.cpp", "depthwise.cpp", "max_pooling.cpp", "winograd.cpp", "winograd_rows.cpp"]


def compile_kernels(cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(), "CAFFE_LITE_CACHE": str(cache), **more}
    return subprocess.run(command("compile-kernels"), env=env, capture_output=True, text=True, timeout=300, check=False)


def rows(output: str) -> list[list[str]]:
    return [line.split(maxsplit=1) for line in output.splitlines()]


def test_it_tells_what_it_did_and_where_the_kernels_are(tmp_path, quick_compiler):
    cache = tmp_path / "cache"
    done = compile_kernels(cache, CXX=quick_compiler())
    assert done.returncode == 0
    *kernels, (_, last) = rows(done.stdout)
    assert [name for name, _ in kernels] == NAMES
    assert all("compiled in" in text and str(cache) in text for _, text in kernels)
    assert last.startswith(f"kernels in {cache}, after ")
    assert sorted(Path(text.split()[-1]) for _, text in kernels) == sorted(cache.glob("*.so"))
    again = compile_kernels(cache, CXX=quick_compiler())
    assert again.returncode == 0 and again.stdout.count("was there") == len(NAMES) and again.stderr == ""


def test_without_a_compiler_it_fails_and_says_so(tmp_path):
    done = compile_kernels(tmp_path, CXX="no-such-compiler")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        "caffe-lite: there is no C++ compiler 'no-such-compiler' here. "
        "Install one (on Debian: apt install g++), or name yours in the variable CXX.\n"
    )


def test_what_is_there_needs_no_compiler(tmp_path, quick_compiler):
    assert compile_kernels(tmp_path / "cache", CXX=quick_compiler()).returncode == 0
    done = compile_kernels(tmp_path / "cache", CXX="no-such-compiler")
    assert done.returncode == 0 and done.stdout.count("was there") == len(NAMES)


def test_a_compiler_that_fails(tmp_path, quick_compiler):
    done = compile_kernels(tmp_path / "cache", CXX=quick_compiler(code="no C"))
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("caffe-lite: ")]
    assert [line.split()[1] for line in errors] == NAMES
    assert all("cannot be compiled or loaded here: " in line for line in errors)


def test_kernels_that_cannot_be_kept_are_a_failure(tmp_path, quick_compiler):
    (tmp_path / "file").write_text("")
    done = compile_kernels(tmp_path / "file" / "cache", CXX=quick_compiler())
    assert done.returncode == 1 and done.stdout.count("not kept") == len(NAMES)
    assert done.stderr.count("are not kept: ") == 1


def test_left_out_by_wish(tmp_path):
    done = compile_kernels(tmp_path, CAFFE_LITE_NATIVE="0")
    assert done.returncode == 1
    assert done.stderr == "caffe-lite: CAFFE_LITE_NATIVE=0 leaves the kernels out. Unset it to compile them.\n"


@pytest.mark.slow
def test_the_real_ones_serve_a_net(tmp_path):
    pytest.importorskip("torch")
    done = compile_kernels(tmp_path)
    if "there is no C++ compiler" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    script = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from caffe_lite.ops.torch.kernels import batch_norm, depthwise, max_pooling, winograd, winograd_rows\n"
        "assert all(module._library() for module in (batch_norm, depthwise, max_pooling, winograd, winograd_rows))"
    )
    env = {**environment(), "CAFFE_LITE_CACHE": str(tmp_path), "CXX": "no-such-compiler"}
    used = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert used.stderr == ""
