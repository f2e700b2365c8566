"""Which engine a net gets."""

from __future__ import annotations

from pathlib import Path

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


def without_gpus(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def with_gpus(monkeypatch, count):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize("ask", [caffe_lite.set_mode_gpu, lambda: caffe_lite.set_device(0)])
def test_no_gpu_is_an_error_that_says_what_to_do(ask, monkeypatch):
    without_gpus(monkeypatch)
    with pytest.raises(EngineError, match=r"no GPU here that torch .* can use\. Use the CPU"):
        ask()
    assert ops.get_ops().name == "numpy"


def test_a_gpu_that_is_not_there(monkeypatch):
    with_gpus(monkeypatch, 2)
    with pytest.raises(EngineError, match=r"no GPU 2\. Choose among 0 to 1"):
        caffe_lite.set_device(2)


def test_the_gpu_of_set_device_counts_from_set_mode_gpu_to_set_mode_cpu(monkeypatch):
    with_gpus(monkeypatch, 2)
    try:
        caffe_lite.set_device(1)
        assert ops.get_ops("torch").device.type == "cpu"
        caffe_lite.set_mode_gpu()
        assert str(ops.get_ops().device) == "cuda:1"
        with pytest.raises(EngineError, match="numpy engine does not compute on GPUs"):
            ops.get_ops("numpy")
    finally:
        caffe_lite.set_mode_cpu()
        caffe_lite.set_device(0)
    assert ops.get_ops().name == "numpy"


def test_on_request_the_cpu_does_what_a_gpu_is_asked_for_with_one_warning(monkeypatch):
    monkeypatch.setenv("CAFFE_LITE_CPU", "1")
    ops._warn_of_cpu.cache_clear()
    with pytest.warns(UserWarning, match="do nothing: the CPU computes") as warned:
        caffe_lite.set_device(7)
    caffe_lite.set_mode_gpu()
    assert [Path(warning.filename).name for warning in warned] == ["test_engines.py"]
    assert not ops.on_gpu()
    assert ops.get_ops().name == "numpy"
