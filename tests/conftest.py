"""Fixtures for all tests: every installed engine, and nets made from text."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from caffe_lite.errors import MissingExtra
from caffe_lite.net import TRAIN, Net
from caffe_lite.ops import Ops, available_engines, get_ops


def skip_without_extra() -> Generator[None, object, object]:
    """Whatever runs here is skipped, not failed, where an optional package that it needs is not installed; in CI all
    are, and it fails."""
    try:
        return (yield)
    except MissingExtra as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(skip_without_extra)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(skip_without_extra)


@pytest.fixture(scope="session", params=available_engines())
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine; a test that uses it runs once on every engine installed."""
    return request.param


@pytest.fixture(scope="session", params=["float32", "float64"])
def ops(engine: str, request: pytest.FixtureRequest) -> Ops:
    """The operations of an engine, in float32 and in float64."""
    return get_ops(engine, request.param)


@pytest.fixture
def make_net(tmp_path: Path, engine: str) -> Iterator[Callable[..., Net]]:
    """``make_net(text, phase=TRAIN, **kw)``: a Net from prototxt text, read from a file ``net.prototxt``."""
    nets: list[Net] = []

    def make(text: str, phase: int = TRAIN, **kw) -> Net:
        path = tmp_path / "net.prototxt"
        path.write_text(text, encoding="utf-8")
        nets.append(Net(path, phase, engine=engine, **kw))
        return nets[-1]

    yield make
    for net in nets:
        net.close()
