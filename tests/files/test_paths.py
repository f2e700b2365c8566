"""Paths that no file can have, and streams that can be read only once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

import caffe_lite as caffe
from caffe_lite.data.databases.opening import open_database
from caffe_lite.data.databases.writing import new_database
from caffe_lite.data.mnist import convert_mnist
from caffe_lite.draw import draw_net_to_file
from caffe_lite.errors import CaffeError
from caffe_lite.inspection.check import check
from caffe_lite.logs.training_log import read_training_log
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "l" dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "l" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2 test_iter: 1 test_interval: 1
snapshot_prefix: "s" random_seed: 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFE_LITE_ENGINE", "numpy")  # it starts fastest
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)
    return tmp_path


# -- a zero byte -------------------------------------------------------------------------------------------------------

ZERO, ZERO_ESCAPED = "a\0b", r"a\000b"


@pytest.mark.parametrize(
    "use",
    [
        lambda net: caffe.Net(ZERO, caffe.TEST),
        lambda net: caffe.Net("net.prototxt", caffe.TEST, weights=ZERO),
        lambda net: net.copy_from(ZERO),
        lambda net: net.load_hdf5(ZERO),
        lambda net: net.save(ZERO),
        lambda net: net.save_hdf5(ZERO),
        lambda net: caffe.get_solver(ZERO),
        lambda net: caffe.get_solver("solver.prototxt").restore(ZERO),
        lambda net: caffe.io.load_image(ZERO),
        lambda net: caffe.Classifier(ZERO, ZERO),
        lambda net: draw_net_to_file(NetParameter(), f"{ZERO}.svg"),
        lambda net: read_training_log(ZERO),
        lambda net: open_database(ZERO, 1),
        lambda net: new_database(ZERO).__enter__(),
        lambda net: convert_mnist(ZERO, ZERO, "db"),
    ],
    ids=lambda use: str(use.__code__.co_firstlineno),
)
def test_a_zero_byte_in_the_path_that_a_script_gives(use: Callable[[caffe.Net], object], folder: Path) -> None:
    with pytest.raises(CaffeError, match=r"a\\x00b"):
        use(caffe.Net("net.prototxt", caffe.TEST))


LAYERS = {
    "data": 'type: "Data" top: "y" data_param { source: "%s" batch_size: 1 backend: LMDB }',
    "image": 'type: "ImageData" top: "y" top: "z" image_data_param { source: "%s" }',
    "window": 'type: "WindowData" top: "y" top: "z" window_data_param { source: "%s" batch_size: 1 }'
    " transform_param { crop_size: 8 }",
    "hdf5": 'type: "HDF5Data" top: "y" hdf5_data_param { source: "%s" batch_size: 1 }',
    "output": 'type: "HDF5Output" bottom: "x" bottom: "l" hdf5_output_param { file_name: "%s" }',
    "infogain": 'type: "InfogainLoss" bottom: "ip" bottom: "l" top: "y" infogain_loss_param { source: "%s" }',
    "mean": 'type: "Data" top: "y" transform_param { mean_file: "%s" } data_param { source: "db" batch_size: 1 }',
    "root": 'type: "ImageData" top: "y" top: "z" image_data_param { source: "list" root_folder: "%s" }',
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_zero_byte_in_the_path_of_a_layer(layer: str, folder: Path) -> None:
    text = f'{NET}layer {{ name: "n" {layer % ZERO_ESCAPED} }}'
    Path("net.prototxt").write_text(text)
    with pytest.raises(CaffeError, match=r'^net\.prototxt:6:\d+, layer "n" .* is a path, and no path holds a'):
        caffe.Net("net.prototxt", caffe.TEST)
    if "db" not in layer and "list" not in layer:
        with pytest.raises(CaffeError, match=r'layer "n" .*: there can be no such file: the path .a\\x00b. holds'):
            caffe.Net(text_format.Parse(text, NetParameter()), caffe.TEST)


FIELDS = ["net", "train_net", "test_net", "weights", "snapshot_prefix"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_zero_byte_in_a_path_of_a_solver(field: str, folder: Path) -> None:
    lines = {"train_net": '"net.prototxt"', "test_net": '"net.prototxt"', "snapshot_prefix": '"s"'}
    lines |= {"net": ""} if field != "net" else {"train_net": ""}
    lines |= {field: f'"{ZERO_ESCAPED}"', "base_lr": "1", "lr_policy": '"fixed"', "test_iter": "1"}
    lines |= {"test_interval": "1", "max_iter": "1", "snapshot": "1"}
    text = "\n".join(f"{name}: {value}" for name, value in lines.items() if value)
    Path("solver.prototxt").write_text(text)
    place = [line.split(":")[0] for line in text.splitlines()].index(field) + 1
    with pytest.raises(
        CaffeError, match=rf"^solver\.prototxt:{place}:\d+: {field} is a path, and no path holds a zero"
    ):
        caffe.get_solver("solver.prototxt")
    assert [problem.where.line for problem in check("solver.prototxt").problems if problem.where] == [place]
    with pytest.raises(CaffeError, match=r"there can be no such file: the path .a\\x00b.* holds a zero byte"):
        caffe.get_solver(text_format.Parse(text, SolverParameter())).step(1)


# -- streams -----------------------------------------------------------------------------------------------------------


def piped(script: str, *files: str) -> subprocess.CompletedProcess[str]:
    """Run caffe-lite with pipes for PIPE1 and PIPE2 that contain these files."""
    words = f"{sys.executable} -m caffe_lite {script}".split()
    for index, file in enumerate(files, 1):
        words = [word.replace(f"PIPE{index}", f"<(cat {file})") for word in words]
    return subprocess.run(["bash", "-c", " ".join(words)], capture_output=True, text=True, timeout=120)


@pytest.fixture
def trained(folder: Path) -> Path:
    """Save weights and a state in both formats."""
    for kind in ("BINARYPROTO", "HDF5"):
        Path("solver.prototxt").write_text(f"{SOLVER} snapshot_format: {kind}")
        solver = caffe.get_solver("solver.prototxt")
        solver.solve()
        solver.close()
    return folder


@pytest.mark.skipif(os.name != "posix", reason="no such pipes")
@pytest.mark.parametrize("ending", ["", ".h5"])
def test_weights_and_states_from_pipes(ending: str, trained: Path) -> None:
    weights, state = f"s_iter_2.caffemodel{ending}", f"s_iter_2.solverstate{ending}"
    done = piped("train --solver PIPE1 --weights PIPE2 --max-iter 0", "solver.prototxt", weights)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Finetuning from /dev/fd/") == 2  # the training net and the test net
    done = piped("train --solver solver.prototxt --max-iter 3 --snapshot PIPE1", state)
    assert done.returncode == 0, done.stderr
    net = caffe.Net("net.prototxt", caffe.TEST, weights="s_iter_3.caffemodel.h5")
    again = caffe.get_solver("solver.prototxt")
    again.param.max_iter = 3
    again.solve()
    assert np.array_equal(net.params["ip"][0].data, again.net.params["ip"][0].data)
    again.close()


@pytest.mark.skipif(os.name != "posix", reason="no such pipes")
def test_a_named_pipe_is_read_anew_each_time(trained: Path) -> None:
    net = caffe.Net("net.prototxt", caffe.TEST)
    os.mkfifo("pipe")
    for file in ("s_iter_2.caffemodel", "s_iter_2.caffemodel.h5"):
        with subprocess.Popen(["sh", "-c", f"cat {file} > pipe"]):
            assert net.copy_from("pipe").loaded == ["ip"]


@pytest.mark.skipif(os.name != "posix", reason="no such pipes")
def test_other_files_from_pipes(trained: Path) -> None:
    assert piped("check PIPE1 PIPE2", "net.prototxt", "solver.prototxt").returncode == 0
    done = piped("train PIPE1 --max-iter 1 --snapshot-prefix t", "net.prototxt")
    assert done.returncode == 0 and Path("t_iter_1.caffemodel").exists(), done.stderr
    done = piped("upgrade-net PIPE1 out.caffemodel", "s_iter_2.caffemodel")
    assert done.returncode == 0, done.stderr
    assert caffe.Net("net.prototxt", caffe.TEST).copy_from("out.caffemodel").loaded == ["ip"]
    command = [sys.executable, "-m", "caffe_lite", "test", "--model=/dev/stdin", "--weights=out.caffemodel"]
    done = subprocess.run([*command, "--iterations=1"], input=NET, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
