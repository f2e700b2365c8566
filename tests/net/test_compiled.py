"""Compiled passes against the same passes layer by layer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, Net, get_solver
from caffe_lite.errors import EngineError, LayerError, SolverError
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.solvers import SGDSolver

pytest.importorskip("torch")
needs_compiler = pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
pytestmark = [needs_compiler, pytest.mark.filterwarnings("default")]

SMALL = """
name: "small"
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 5 } shape { dim: 4 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.25 } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""

IMAGES = """
name: "images"
layer { name: "in" type: "Input" top: "x" top: "label"
        input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } shape { dim: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "lrn" type: "LRN" bottom: "pool1" top: "lrn" lrn_param { local_size: 3 } }
layer { name: "conv2" type: "Convolution" bottom: "lrn" top: "conv2"
        convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "conv2" bottom: "lrn" top: "sum" }
layer { name: "pool2" type: "Pooling" bottom: "sum" top: "pool2" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "drawn" type: "Pooling" bottom: "pool1" top: "drawn"
        pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }
layer { name: "join" type: "Concat" bottom: "pool2" bottom: "drawn" top: "join" }
layer { name: "score" type: "InnerProduct" bottom: "join" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" }
"""

MAPS = """
name: "maps"
layer { name: "in" type: "Input" top: "x" top: "like" top: "label"
        input_param { shape { dim: 2 dim: 3 dim: 6 dim: 7 } shape { dim: 1 dim: 1 dim: 9 dim: 9 } shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "larger" type: "Deconvolution" bottom: "conv" top: "larger"
        convolution_param { num_output: 4 group: 2 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "crop" type: "Crop" bottom: "larger" bottom: "like" top: "crop" crop_param { offset: 1 } }
layer { name: "columns" type: "Im2col" bottom: "crop" top: "columns" convolution_param { kernel_size: 2 stride: 2 } }
layer { name: "pyramid" type: "SPP" bottom: "columns" top: "pyramid" spp_param { pyramid_height: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "pyramid" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""

SEQUENCES = """
name: "sequences"
layer { name: "in" type: "Input" top: "x" top: "cont" top: "label"
        input_param { shape { dim: 2 dim: 2 dim: 4 } shape { dim: 2 dim: 2 } shape { dim: 2 dim: 2 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm"
        recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -0.5 max: 0.5 } } }
layer { name: "rnn" type: "RNN" bottom: "lstm" bottom: "cont" top: "rnn"
        recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -0.5 max: 0.5 } debug_info: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "rnn" bottom: "label" top: "loss" softmax_param { axis: 2 } }
"""

SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9, "regularization_type": "L1"},
    "AdaGrad": {"clip_gradients": 0.05},
    "RMSProp": {"rms_decay": 0.9},
    "AdaDelta": {"momentum": 0.9, "delta": 1e-3},
    "Adam": {"momentum": 0.9, "momentum2": 0.99},
}


def solver(text: str, compile: bool = True, type: str = "SGD", **settings: Any) -> SGDSolver:
    """Make a torch solver for the net of this text, whose inputs always hold the same random numbers."""
    settings = {"base_lr": 0.1, "lr_policy": "exp", "gamma": 0.9, "weight_decay": 0.01, "random_seed": 3, **settings}
    param = SolverParameter(type=type, **settings)
    text_format.Parse(text, param.net_param)
    made = get_solver(param, engine="torch", compile=compile)
    feed(made.net)
    return made


def feed(net: Net) -> None:
    rng = np.random.default_rng(0)
    net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    net.blobs["label"].data[...] = rng.integers(0, 3, net.blobs["label"].shape)


def state(of: SGDSolver) -> dict[str, np.ndarray]:
    """Return everything that can be read after an iteration."""
    arrays = {name: of.net.blobs[name].data for name in of.net.outputs}
    for layer, blobs in of.net.params.items():
        for index, blob in enumerate(blobs):
            arrays |= {f"{layer} {index}": blob.data, f"{layer} {index} diff": blob.diff}
    arrays |= {f"history {index}": array.numpy() for index, array in enumerate(of.history)}
    return {name: array.copy() for name, array in arrays.items()}


def check_equal(mine: SGDSolver, theirs: SGDSolver) -> None:
    wanted = state(theirs)
    for name, array in state(mine).items():
        np.testing.assert_allclose(array, wanted[name], 1e-4, 1e-6, err_msg=name)


@pytest.mark.parametrize("rule", [pytest.param(r, marks=[pytest.mark.slow] if r != "SGD" else []) for r in SETTINGS])
def test_every_rule_goes_the_way_it_goes_layer_by_layer(rule: str) -> None:
    mine, theirs = (solver(SMALL, compile, rule, **SETTINGS[rule]) for compile in (True, False))
    for _ in range(4):
        mine.step(1)
        theirs.step(1)
        check_equal(mine, theirs)
    assert mine.net.rng.random() == theirs.net.rng.random()


@pytest.mark.slow
def test_images() -> None:
    mine, theirs = (solver(IMAGES, compile, momentum=0.9) for compile in (True, False))
    for _ in range(3):
        mine.step(1)
        theirs.step(1)
        check_equal(mine, theirs)


def test_other_shapes(caplog: pytest.LogCaptureFixture) -> None:
    mine, theirs = (solver(SMALL, compile, momentum=0.9) for compile in (True, False))
    with caplog.at_level("INFO", "caffe_lite"):
        for batch in (4, 4, 5, 4):
            for one in (mine, theirs):
                if one.net.blobs["x"].shape[0] != batch:
                    one.net.blobs["x"].reshape(batch, 5)
                    one.net.blobs["label"].reshape(batch)
                    feed(one.net)
                one.step(1)
            check_equal(mine, theirs)
    compiled = [line for line in caplog.messages if line.startswith("Compiled the forward and backward pass")]
    assert len(compiled) == 2


@pytest.mark.slow
def test_maps() -> None:
    mine, theirs = (solver(MAPS, compile) for compile in (True, False))
    for _ in range(3):
        mine.step(1)
        theirs.step(1)
        check_equal(mine, theirs)


@pytest.mark.slow
def test_states_go_on_from_pass_to_pass(caplog: pytest.LogCaptureFixture) -> None:
    mine, theirs = (solver(SEQUENCES, compile) for compile in (True, False))
    for streams in (2, 2, 1):
        for one in (mine, theirs):
            for name in one.net.inputs:
                one.net.blobs[name].reshape(2, streams, *one.net.blobs[name].shape[2:])
            feed(one.net)
            one.net.blobs["cont"].data[...] = 1
            with caplog.at_level("INFO", "caffe_lite"):
                caplog.clear()
                one.step(1)
            assert len([line for line in caplog.messages if "Layer rnn_h_" in line]) == 6
        check_equal(mine, theirs)
    alone = re.sub('(?s)layer { name: "rnn".*?\nlayer', "layer", SEQUENCES).replace('"rnn"', '"lstm"')
    nets = [Net(text_format.Parse(alone, NetParameter()), TEST, engine="torch", seed=1, compile=c) for c in (1, 0)]
    losses = []
    for _ in range(3):
        for net in nets:
            feed(net)
            net.blobs["cont"].data[...] = 1
        losses.append([float(net.forward()["loss"]) for net in nets])
    nets[0].recompute()
    np.testing.assert_allclose(nets[0].blobs["lstm"].data, nets[1].blobs["lstm"].data, 1e-5)
    np.testing.assert_allclose(*zip(*losses, strict=True), 1e-5)
    assert len({float(mine) for mine, _ in losses}) == 3


@pytest.mark.slow
def test_gradients_of_several_batches_add_up() -> None:
    mine, theirs = (solver(SMALL, compile, iter_size=3, clip_gradients=0.2) for compile in (True, False))
    calls = []
    mine.add_callback(lambda: calls.append("start"), lambda: calls.append(mine.net.params["ip2"][1].diff.copy()))
    for one in (mine, theirs):
        one.step(2)
    check_equal(mine, theirs)
    assert calls[0] == calls[2] == "start" and np.any(calls[1] != calls[3])


def test_parameters_stay_where_they_are_and_may_be_written() -> None:
    mine, theirs = solver(SMALL), solver(SMALL, compile=False)
    views = [one.net.params["ip1"][0].data for one in (mine, theirs)]
    for one, view in zip((mine, theirs), views, strict=True):
        before = view.copy()
        one.step(1)
        assert np.any(view != before)
        view[...] = 0.5
        one.step(1)
        assert view is not before and np.abs(view - 0.5).max() < 0.1
    check_equal(mine, theirs)


def test_a_blob_that_is_not_kept_is_not_shown() -> None:
    mine = solver(SMALL)
    mine.step(1)
    mine.net.blobs["x"].data[...] = 1
    for part in ("data", "diff"):
        with pytest.raises(EngineError, match=r"this blob is not there: a compiled pass keeps outputs.*--compile"):
            getattr(mine.net.blobs["ip2"], part)
    with pytest.raises(EngineError, match="nothing for a backward pass"):
        mine.net.backward()
    mine.net.forward()
    mine.net.backward()
    assert mine.net.blobs["ip2"].diff.any()


def test_a_bad_label_is_told_by_name_and_nothing_has_changed() -> None:
    mine = solver(SMALL)
    mine.step(1)
    before = state(mine)
    mine.net.blobs["label"].data[2] = 7
    with pytest.raises(
        LayerError, match=r'layer "loss" \(SoftmaxWithLoss\): label 7 of sample 2 is none of the classes'
    ):
        mine.step(1)
    after = state(mine)
    assert all(np.array_equal(before[name], after[name]) for name in before if not name.endswith("diff"))
    mine.net.blobs["label"].data[2] = 2
    mine.step(1)


def test_a_loss_that_is_not_finite_is_traced_to_its_layer() -> None:
    mine = solver(SMALL)
    mine.step(1)
    mine.net.params["ip2"][1].data[...] = np.inf
    with pytest.raises(
        SolverError, match=r'layer "ip2" \(InnerProduct\): the loss is nan .* first in the data of param 1'
    ):
        mine.step(1)


def test_a_run_is_resumed_exactly(tmp_path: Path) -> None:
    settings = {"momentum": 0.9, "snapshot_prefix": str(tmp_path / "small")}
    whole = solver(SMALL, **settings)
    whole.step(2)
    whole.snapshot()
    whole.step(2)
    resumed = solver(SMALL, **settings)
    resumed.restore(tmp_path / "small_iter_2.solverstate")
    resumed.step(2)
    wanted = state(whole)
    assert all(np.array_equal(array, wanted[name]) for name, array in state(resumed).items())


@pytest.mark.slow
def test_a_net_for_test_runs_forward() -> None:
    param = text_format.Parse(IMAGES, NetParameter())
    mine, theirs = (Net(param, TEST, engine="torch", seed=1, compile=compile) for compile in (True, False))
    for net in (mine, theirs):
        feed(net)
    for weight in (0.5, 2.0):
        for net in (mine, theirs):
            net.params["norm"][2].data[...] = weight
            net.params["norm"][1].data[...] = 1
        wanted = theirs.forward(["score"])
        for name, array in mine.forward().items():
            np.testing.assert_allclose(array, wanted[name], 1e-5, 1e-6)
        np.testing.assert_allclose(mine.forward(["score"])["score"], wanted["score"], 1e-5, 1e-6)
    mine.forward()
    with pytest.raises(EngineError, match="nothing for a backward pass"):
        mine.backward()


def test_backward_before_a_compiled_pass_leaves_it_alone() -> None:
    mine, theirs, plain = solver(SMALL), solver(SMALL), solver(SMALL, compile=False)
    mine.net.backward()
    plain.net.backward()
    for name, blobs in plain.net.params.items():
        for index, blob in enumerate(blobs):
            np.testing.assert_array_equal(mine.net.params[name][index].diff, blob.diff)
    for one in (mine, theirs):
        one.step(2)
    check_equal(mine, theirs)
    with pytest.raises(EngineError, match="nothing for a backward pass"):
        mine.net.backward()


def test_a_python_layer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compiled_same.py").write_text(
        "class Same:\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = bottom[0].data\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'
        'layer { name: "same" type: "Python" bottom: "x" top: "y"\n'
        '        python_param { module: "compiled_same" layer: "Same" } }\n'
    )
    with pytest.raises(EngineError, match=r'net\.prototxt:2:1, layer "same" \(Python\): it cannot be compiled'):
        Net(path, TEST, engine="torch", compile=True)


def test_another_engine_is_refused() -> None:
    with pytest.raises(EngineError, match=r"the numpy engine cannot compile\. Choose the torch engine"):
        Net(text_format.Parse(SMALL, NetParameter()), TEST, engine="numpy", compile=True)


def test_the_environment_asks_for_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, wanted in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("CAFFE_LITE_COMPILE", value)
        net = Net(text_format.Parse(SMALL, NetParameter()), TEST, engine="torch")
        assert net.compile is wanted


def test_without_a_compiler_it_is_an_error_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL)
    run = subprocess.run(
        [sys.executable, "-m", "caffe_lite", "train", "net.prototxt", "--engine", "torch", "--compile"],
        cwd=tmp_path,
        env=os.environ | {"CXX": "/nonexistent/c++", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "compiling needs a C++ compiler, and there is no '/nonexistent/c++' here" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_whole_passes_are_timed(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL)
    words = ["time", "--model", "net.prototxt", "--iterations", "2", "--engine", "torch", "--compile", "--phase"]
    both = f"from caffe_lite.cli import main; print([main({words} + [phase]) for phase in ('TRAIN', 'TEST')])"
    run = subprocess.run(
        [sys.executable, "-c", both],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "[0, 0]\n", run.stderr
    assert re.findall("Average (.*?): ", run.stderr) == ["Forward-Backward", "Forward"]
    assert "forward:" not in run.stderr


MANY = """
name: "many"
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } }
layer { name: "gain" type: "DummyData" top: "gain"
        dummy_data_param { shape { dim: 3 dim: 3 } data_filler { type: "uniform" } } }
layer { name: "shift" type: "Parameter" top: "shift" parameter_param { shape { dim: 6 } } }
layer { name: "shifted" type: "Bias" bottom: "x" bottom: "shift" top: "shifted" }
layer { name: "ip" type: "InnerProduct" bottom: "shifted" top: "h"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "elu" type: "ELU" bottom: "h" top: "h" elu_param { alpha: 0.5 } }
layer { name: "swish" type: "Swish" bottom: "h" top: "h" swish_param { beta: 2 } }
layer { name: "bnll" type: "BNLL" bottom: "h" top: "h" }
layer { name: "log" type: "Log" bottom: "h" top: "h" log_param { base: 2 shift: 1 } }
layer { name: "exp" type: "Exp" bottom: "h" top: "h" exp_param { scale: -0.5 } }
layer { name: "power" type: "Power" bottom: "h" top: "h" power_param { power: 1.5 scale: 0.9 shift: 0.2 } }
layer { name: "clip" type: "Clip" bottom: "h" top: "h" clip_param { min: 0.3 max: 0.9 } }
layer { name: "words" type: "Embed" bottom: "label" top: "words"
        embed_param { input_dim: 3 num_output: 6 weight_filler { type: "gaussian" } } }
layer { name: "abs" type: "AbsVal" bottom: "words" top: "abs" }
layer { name: "tile" type: "Tile" bottom: "abs" top: "tile" tile_param { tiles: 2 } }
layer { name: "picked" type: "BatchReindex" bottom: "h" bottom: "label" top: "picked" }
layer { name: "join" type: "Concat" bottom: "h" bottom: "tile" bottom: "picked" top: "join" }
layer { name: "planes" type: "Reshape" bottom: "join" top: "planes"
        reshape_param { shape { dim: 0 dim: 3 dim: 2 dim: 4 } } }
layer { name: "mvn" type: "MVN" bottom: "planes" top: "planes" mvn_param { eps: 0.01 } }
layer { name: "score" type: "InnerProduct" bottom: "planes" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "best" type: "ArgMax" bottom: "score" top: "best" argmax_param { top_k: 2 out_max_val: true } }
layer { name: "over" type: "Threshold" bottom: "score" top: "over" }
layer { name: "size" type: "Reduction" bottom: "score" top: "size" loss_weight: 0.1
        reduction_param { operation: SUMSQ coeff: 0.5 } }
layer { name: "hinge" type: "HingeLoss" bottom: "score" bottom: "label" top: "hinge" hinge_loss_param { norm: L2 } }
layer { name: "info" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "gain" top: "info" }
layer { name: "pairs" type: "ContrastiveLoss" bottom: "h" bottom: "picked" bottom: "label" top: "pairs" }
"""


@pytest.mark.slow
def test_layers_of_every_kind() -> None:
    mine, theirs = (solver(MANY, compile) for compile in (True, False))
    for _ in range(3):
        for one in (mine, theirs):
            one.step(1)
        check_equal(mine, theirs)
    assert mine.net.params["shift"][0].diff.any()
    mine.net.blobs["label"].data[1] = 3
    with pytest.raises(LayerError, match=r'layer "words" \(Embed\): index 3 of sample 1 is none of the 3 rows'):
        mine.step(1)


def test_a_shape_that_depends_on_values_is_refused() -> None:
    filtered = 'layer { name: "some" type: "Filter" bottom: "x" bottom: "label" top: "some" }'
    net = Net(text_format.Parse(SMALL + filtered, NetParameter()), TEST, engine="torch", compile=True)
    with pytest.raises(
        EngineError, match=r'layer "some" \(Filter\): it cannot be compiled: how many samples it passes'
    ):
        net.forward()


@pytest.mark.parametrize("type_name", ["ScaleRoute", "DecodeBBox"])
def test_rows_that_depend_on_values_are_refused(type_name) -> None:
    bottoms = 'bottom: "regions"' if type_name == "ScaleRoute" else 'bottom: "deltas" bottom: "regions"'
    text = f"""
    layer {{ name: "in" type: "Input" top: "deltas" top: "regions"
             input_param {{ shape {{ dim: 3 dim: 8 }} shape {{ dim: 3 dim: 5 }} }} }}
    layer {{ name: "some" type: "{type_name}" {bottoms} top: "some" }}"""
    net = Net(text_format.Parse(text, NetParameter()), TEST, engine="torch", compile=True)
    with pytest.raises(EngineError, match=rf'layer "some" \({type_name}\): it cannot be compiled: how many rows'):
        net.forward()


@pytest.mark.slow
def test_an_output_without_a_loss_is_passed_on_from_pass_to_pass() -> None:
    text = "force_backward: true\n" + SMALL + 'layer { name: "r" type: "Reduction" bottom: "ip2" top: "total" }\n'
    compiled, plain = solver(text), solver(text, compile=False)
    for _ in range(2):
        compiled.step(1)
        plain.step(1)
    check_equal(compiled, plain)


def test_an_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.5.1+cpu"))
    with pytest.raises(EngineError, match=r"needs torch 2\.6 or newer, and this is 2\.5\.1"):
        Net(text_format.Parse(SMALL, NetParameter()), TEST, engine="torch", compile=True)
