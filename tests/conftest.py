"""Fixtures for all tests: every installed engine, and nets made from text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from caffe_lite import TRAIN, Net
from caffe_lite.errors import MissingExtra
from caffe_lite.ops import Ops, available_engines, get_ops
from caffe_lite.ops.memory import recycle_freed_memory


def skip_without_extra() -> Generator[None, object, object]:
    """Skip a test if an optional package is not installed. In CI, where all of them are installed, it fails."""
    try:
        return (yield)
    except MissingExtra as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(skip_without_extra)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(skip_without_extra)


@pytest.fixture(scope="session", autouse=True)
def memory_recycled() -> None:
    """Keep the first engine's message about memory, logged once per process, out of the logs of tests."""
    recycle_freed_memory()


@pytest.fixture(scope="session", params=[name for name in available_engines() if name != "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine; a test that uses it runs once on every installed engine with its own arithmetic."""
    return request.param


@pytest.fixture(scope="session", params=["float32", "float64"])
def ops(engine: str, request: pytest.FixtureRequest) -> Ops:
    """Return the operations of an engine, in float32 and in float64."""
    return get_ops(engine, request.param)


@pytest.fixture
def make_net(tmp_path: Path, engine: str) -> Iterator[Callable[..., Net]]:
    """Return ``make_net(text, phase=TRAIN, **kw)``, which makes a Net from prototxt in a file ``net.prototxt``."""
    nets: list[Net] = []

    def make(text: str, phase: int = TRAIN, **kw) -> Net:
        path = tmp_path / "net.prototxt"
        path.write_text(text, encoding="utf-8")
        nets.append(Net(path, phase, engine=engine, **kw))
        return nets[-1]

    yield make
    for net in nets:
        net.close()


_QUICK = """#!/bin/sh
case " $* " in *" -dM "*) echo '{defines}'; exit ;; esac
echo begin >> '{log}'
sleep {seconds}
while [ "$1" != -o ]; do shift; done
gcc -shared -fPIC -x c -o "$2" '{source}' && echo end >> '{log}'
"""


@pytest.fixture
def quick_compiler(tmp_path: Path) -> Callable[..., str]:
    """Return ``quick_compiler(name, seconds=, code=, defines=, folder=)``: a compiler that always compiles this C code.

    It takes so many seconds, prints its definitions, and writes ``begin`` and ``end`` to the folder's ``compiled``.
    """
    if shutil.which("gcc") is None and "CI" not in os.environ:
        pytest.skip("there is no gcc")

    def make(
        name: str = "quick",
        seconds: float = 0.0,
        code: str = "int one = 1;",
        defines: str = "#define __VERSION__ 1",
        folder: Path = tmp_path,
    ) -> str:
        path, source, log = folder / name, folder / f"{name}.c", folder / "compiled"
        source.write_text(code)
        path.write_text(_QUICK.format(defines=defines, log=log, seconds=seconds, source=source))
        path.chmod(0o755)
        log.touch()
        log.chmod(0o666)  # any user may run it
        return str(path)

    return make
