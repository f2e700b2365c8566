"""upgrade-net and upgrade-solver turn older formats into today's."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_lite.io import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter, V1LayerParameter
from caffe_lite.proto.parser import parse_text

from .conftest import NET, SOLVER

V1 = """name: "old"
input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 3 inner_product_param { num_output: 2 } }
"""
TODAY = """name: "old"
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 3 }
  inner_product_param { num_output: 2 } }
"""


def test_a_net_as_text(caffe, folder: Path) -> None:
    (folder / "old.prototxt").write_text(V1)
    result = caffe("upgrade-net", "old.prototxt", "new.prototxt")
    assert result.returncode == 0, result.stderr
    assert (
        parse_text((folder / "new.prototxt").read_text(), NetParameter).message
        == parse_text(TODAY, NetParameter).message
    )
    assert (
        "] Attempting to upgrade input file specified using deprecated V1LayerParameter: old.prototxt" in result.stderr
    )
    assert result.stderr.endswith("] Wrote upgraded NetParameter text proto to new.prototxt\n")
    assert "File already in latest proto format" not in result.stderr
    again = caffe("upgrade-net", "new.prototxt", "new.prototxt")
    assert again.returncode == 0 and "] File already in latest proto format: new.prototxt" in again.stderr


def test_a_binary_net_keeps_its_weights(caffe, folder: Path) -> None:
    net = parse_text(V1, NetParameter).message
    net.layers[0].blobs.append(array_to_blobproto([[1.5, 2, 3]]))
    (folder / "old.caffemodel").write_bytes(net.SerializeToString())
    result = caffe("upgrade-net", "old.caffemodel", "old.caffemodel")
    assert result.returncode == 0, result.stderr
    wanted = parse_text(TODAY, NetParameter).message
    wanted.layer[1].blobs.append(array_to_blobproto([[1.5, 2, 3]]))
    assert NetParameter.FromString((folder / "old.caffemodel").read_bytes()) == wanted
    assert result.stderr.endswith("] Wrote upgraded NetParameter binary proto to old.caffemodel\n")


def test_what_is_lost_is_told_by_the_status(caffe, folder: Path) -> None:
    (folder / "old.prototxt").write_text('layers { layer { name: "r" type: "relu" num_output: 3 } bottom: "x" }')
    assert caffe("upgrade-net", "old.prototxt", "new.prototxt").returncode == 1
    (folder / "old.prototxt").write_text('layers { layer { name: "r" type: "relu" num_output: 3 } }')
    result = caffe("upgrade-net", "old.prototxt", "new.prototxt")
    assert result.returncode == 1
    assert "] Unknown parameter num_output for layer type relu" in result.stderr
    assert (folder / "new.prototxt").exists()


def test_a_solver(caffe, folder: Path) -> None:
    (folder / "old.prototxt").write_text(f"solver_type: NESTEROV {SOLVER} test_net_param {{ {V1} }}")
    result = caffe("upgrade-solver", "old.prototxt", "new.prototxt")
    assert result.returncode == 0, result.stderr
    wanted = parse_text(f'type: "Nesterov" {SOLVER} test_net_param {{ {TODAY} }}', SolverParameter).message
    assert parse_text((folder / "new.prototxt").read_text(), SolverParameter).message == wanted
    assert result.stderr.endswith("] Wrote upgraded SolverParameter text proto to new.prototxt\n")
    again = caffe("upgrade-solver", "solver.prototxt", "solver.prototxt")
    assert again.returncode == 0 and "] File already in latest proto format: solver.prototxt" in again.stderr
    assert (
        parse_text((folder / "solver.prototxt").read_text(), SolverParameter).message
        == parse_text(SOLVER, SolverParameter).message
    )


def test_old_nets_train(caffe, folder: Path) -> None:
    """Run a whole training with data layers of V1, whose transformation is in its old place."""
    v1 = NET.replace("layer {", "layers {").replace('name: "stripes"', 'name: "stripes"')
    for today, old in (
        ("Data", "DATA"),
        ("InnerProduct", "INNER_PRODUCT"),
        ("ReLU", "RELU"),
        ("Accuracy", "ACCURACY"),
        ("SoftmaxWithLoss", "SOFTMAX_LOSS"),
    ):
        v1 = v1.replace(f'type: "{today}"', f"type: {old}")
    v1 = v1.replace("transform_param { scale: 0.00390625 }", "").replace(
        "data_param {", "data_param { scale: 0.00390625"
    )
    assert parse_text(v1, NetParameter).message.layers[0].type == V1LayerParameter.DATA
    assert caffe("train", "solver.prototxt").returncode == 0
    before = (folder / "stripes_iter_20.caffemodel").read_bytes()
    (folder / "net.prototxt").write_text(v1)
    result = caffe("train", "solver.prototxt")
    assert result.returncode == 0, result.stderr
    assert (folder / "stripes_iter_20.caffemodel").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n\0", "a.h5: this is an HDF5 file"),
        ("a.caffemodel", NetParameter(name="a").SerializeToString() + b"\1", "a.caffemodel: "),
        ("a.prototxt", b"base_lr: 1", "a.prototxt:1:1: this is a solver, not a net"),
    ],
)
def test_what_is_no_net_is_refused(caffe, folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    result = caffe("upgrade-net", name, "out")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"caffe-lite: {message}" in result.stderr
    assert not (folder / "out").exists()
