"""Which engine a net gets."""

from __future__ import annotations

import pytest

import caffe_lite
from caffe_lite import ops
from caffe_lite.errors import EngineError, MissingExtra


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.delenv("CAFFE_LITE_ENGINE", raising=False)
    yield
    caffe_lite.set_engine(None)


def test_numpy_is_the_default():
    assert ops.get_ops().name == "numpy"


def test_set_engine_goes_before_the_environment_and_an_argument_before_both(engine, monkeypatch):
    monkeypatch.setenv("CAFFE_LITE_ENGINE", engine)
    assert ops.get_ops().name == engine
    caffe_lite.set_engine("numpy")
    assert ops.get_ops().name == "numpy"
    assert ops.get_ops(engine).name == engine


def test_auto_is_the_fastest_installed():
    caffe_lite.set_engine("auto")
    assert ops.get_ops().name == caffe_lite.available_engines()[-1]


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(EngineError, match=r"unknown engine 'abacus'\. Engines here: numpy"):
        caffe_lite.set_engine("abacus")


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr(ops, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[torch\]'"):
        caffe_lite.set_engine("torch")


def test_modes_of_pycaffe():
    caffe_lite.set_mode_cpu()
    with pytest.raises(EngineError, match="no engine that computes on a GPU yet"):
        caffe_lite.set_mode_gpu()
