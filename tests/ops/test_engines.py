"""Which engine a net gets."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import caffe_lite
from caffe_lite import ops
from caffe_lite.errors import EngineError, MissingExtra, PluginError
from caffe_lite.ops.numpy.engine import NumpyOps
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text


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
    assert ops.get_ops().name == [name for name in caffe_lite.available_engines() if name in ("numpy", "torch")][-1]


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(EngineError, match=r"unknown engine 'abacus'\. Engines here: numpy"):
        caffe_lite.set_engine("abacus")


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr(ops, "is_installed", lambda name: False)
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
        assert ops.get_ops("torch").device == "cpu"
        caffe_lite.set_mode_gpu()
        assert ops.get_ops().device == "cuda:1"
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


def test_the_device_of_a_net_is_its_own(monkeypatch):
    with_gpus(monkeypatch, 2)
    assert ops.get_ops("torch", device=1).device == ops.get_ops(device="cuda:1").device == "cuda:1"
    assert ops.get_ops("torch").device == "cpu"
    try:
        caffe_lite.set_mode_gpu()
        assert ops.get_ops("torch", device="cpu").device == "cpu"
        assert ops.get_ops("numpy", device="cpu").device == "cpu"
    finally:
        caffe_lite.set_mode_cpu()
    with pytest.raises(EngineError, match=r"no GPU 2\. Choose among 0 to 1"):
        ops.get_ops(device=2)
    with pytest.raises(EngineError, match="unknown device 'tpu'"):
        ops.get_ops(device="tpu")


NET = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "constant" value: 2 } } }"""


def net(engine, **options):
    return caffe_lite.Net(parse_text(NET, NetParameter, "net.prototxt"), caffe_lite.TEST, engine=engine, **options)


class Counting(NumpyOps):
    name = "counting"
    products = 0

    def inner_product(self, x, weight, bias):
        self.products += 1
        return super().inner_product(x, weight, bias)


def counting(dtype, device):
    return Counting(dtype)


@pytest.fixture
def registry(monkeypatch):
    """Remove the engines of a test when it ends."""
    monkeypatch.setattr(ops, "_registered", {})


def test_an_engine_of_a_few_lines(registry):
    caffe_lite.register_engine("counting", counting)
    assert "counting" in caffe_lite.available_engines()
    mine = net("counting", dtype="float64")
    mine.blobs["x"].data[...] = 1
    assert (mine.forward()["ip"] == 6).all() and mine.blobs["ip"].data.dtype == "float64"
    assert mine.ops.products == 1
    with pytest.raises(EngineError, match="the counting engine cannot compile"):
        net("counting", compile=True)
    caffe_lite.set_engine("counting")
    assert ops.get_ops().name == "counting"


def test_a_name_of_an_engine_is_taken_once(registry):
    caffe_lite.register_engine("counting", counting)
    caffe_lite.register_engine("counting", counting)
    for name, factory in (("counting", Counting), ("numpy", counting)):
        with pytest.raises(ValueError, match=f"the name '{name}' of an engine is taken"):
            caffe_lite.register_engine(name, factory)


def test_a_net_takes_an_engines_operations():
    mine = Counting("float64")
    assert net(mine).ops is mine
    assert net(mine, dtype="float64", device="cpu").ops is mine
    with pytest.raises(EngineError, match="dtype float32 is asked for, and the operations given are of float64"):
        net(mine, dtype="float32")


class Whole(NumpyOps):
    """An engine that offers whole forward passes."""

    name = "whole"

    def program(self, net):
        return Program(net)


class Program:
    backward = remembers = False

    def __init__(self, net):
        self.net = net

    def __call__(self):
        for _, blob, _ in self.net.output_blobs:
            blob.data = blob.ops.full(blob.shape, 7)
        return self.net.ops.scalar(0)

    def serves(self, read=()):
        return set(read) <= {blob for _, blob, _ in self.net.output_blobs}

    def rerun(self):
        self.net.run_forward()

    def parameters_are_others(self):
        pass


def test_an_engine_of_whole_programs():
    whole = net(Whole())
    assert (whole.forward()["ip"] == 7).all()
    whole.blobs["x"].data[...] = 1
    assert (whole.forward(["x"])["ip"] == 6).all(), "what the program does not keep is asked for"


def test_an_engine_of_another_distribution(monkeypatch):
    def entry_points(group):
        found = {"counting": f"{__name__}:counting", "broken": "no.such.module:x"}
        return [EntryPoint(name, value, group) for name, value in found.items() if group == "caffe_lite.engines"]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[counting.__module__])
    assert caffe_lite.available_engines()[-2:] == ["counting", "broken"]
    assert ops.get_ops("counting").name == "counting"
    with pytest.raises(PluginError, match=r"the engine 'broken' in no\.such\.module:x, which cannot be imported"):
        ops.get_ops("broken")
