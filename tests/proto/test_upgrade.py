"""Older forms become today's by the original's rules."""

from pathlib import Path

import pytest

from caffe_lite.errors import PrototxtError
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_solver
from caffe_lite.proto.upgrade import upgrade_net, upgrade_solver

RELU = 'layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }\n'


def net_of(text: str):
    parsed = parse_text(text, caffe_pb2.NetParameter, "net.prototxt")
    upgrade_net(parsed)
    return parsed


@pytest.mark.parametrize(
    "inputs",
    [
        'input: "data"\ninput_dim: 1\ninput_dim: 2\ninput_dim: 3\ninput_dim: 4\n',
        'input: "data"\ninput_shape { dim: [1, 2, 3, 4] }\ninput_dim: 9\n',
    ],
)
def test_inputs_become_a_layer_with_their_place(inputs: str):
    parsed = net_of('name: "n"\n' + inputs + RELU)
    net = parsed.message
    assert [layer.type for layer in net.layer] == ["Input", "ReLU"]
    assert (net.layer[0].name, list(net.layer[0].top)) == ("input", ["data"])
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[1, 2, 3, 4]]
    assert not (net.input or net.input_dim or net.input_shape)
    assert [where.line for where in parsed.layers] == [2, 2 + inputs.count("\n")]
    assert parsed.where("layer", 1, "bottom", 0).column == RELU.index("bottom") + 1


def test_several_inputs_share_one_layer():
    net = net_of('input: "a" input: "b" input_dim: [1, 2, 3, 4, 5, 6, 7, 8]').message
    assert list(net.layer[0].top) == ["a", "b"]
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    "shapes", ["", "input_dim: [1, 2, 3, 4, 5, 6, 7]", "input_shape { dim: 1 } input_dim: [1, 2, 3, 4, 5, 6, 7, 8]"]
)
def test_an_input_without_a_shape_is_named(shapes: str):
    with pytest.raises(PrototxtError, match=r'input "\w" has no shape') as caught:
        net_of('input: "a"\ninput: "b"\n' + shapes)
    assert caught.value.where.line == (2 if shapes else 1)


def test_an_input_that_a_layer_makes_needs_no_shape():
    parsed = net_of('input: "data"\nlayer { name: "input" type: "Input" top: "data" }')
    assert len(parsed.message.layer) == 1
    assert not parsed.message.input
    assert parsed.layers[0].line == 2


def test_shapes_without_an_input_mean_nothing():
    assert [layer.type for layer in net_of("input_dim: 3\n" + RELU).message.layer] == ["ReLU"]


def test_batch_norm_with_three_params_is_frozen_and_others_are_not():
    param = 'param { name: "p" lr_mult: 1 } '
    net = net_of(
        f'layer {{ type: "BatchNorm" {param * 3} }} layer {{ type: "BatchNorm" {param * 2} }}'
        f'layer {{ type: "Scale" {param * 3} }}'
    ).message
    assert [(spec.name, spec.lr_mult, spec.decay_mult) for spec in net.layer[0].param] == [("p", 0, 0)] * 3
    assert [spec.lr_mult for layer in net.layer[1:] for spec in layer.param] == [1] * 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("5", "Adam"),
    ],
)
def test_solver_type_becomes_a_name(old: str, new: str):
    parsed = parse_text(f"solver_type: {old}", caffe_pb2.SolverParameter)
    upgrade_solver(parsed)
    assert parsed.message.type == new
    assert not parsed.message.HasField("solver_type")


def test_both_solver_types_are_refused():
    parsed = parse_text('type: "Adam"\nsolver_type: SGD', caffe_pb2.SolverParameter, "s.prototxt")
    with pytest.raises(PrototxtError, match=r"s\.prototxt:2:1: .*both type and solver_type"):
        upgrade_solver(parsed)


def test_nets_inside_a_solver_are_upgraded_and_located(tmp_path: Path):
    path = tmp_path / "solver.prototxt"
    inner = f'input: "data" input_shape {{ dim: 1 }}\n{RELU}'
    path.write_text(f"train_net_param {{\n{inner}}}\ntest_net_param {{\n{inner}}}\ntest_net_param {{\n{RELU}}}\n")
    parsed = read_solver(path)
    assert [layer.type for layer in parsed.message.test_net_param[0].layer] == ["Input", "ReLU"]
    assert [where.line for where in parsed.sub("train_net_param").layers] == [2, 3]
    assert [where.line for where in parsed.sub("test_net_param", 0).layers] == [6, 7]
    assert [where.line for where in parsed.sub("test_net_param", 1).layers] == [10]


def test_snapshots_are_named_after_the_solver(tmp_path: Path):
    path = tmp_path / "my.solver.prototxt"
    for given, expected in [
        ("", tmp_path / "my.solver"),
        (f'snapshot_prefix: "{tmp_path.as_posix()}"', tmp_path / "my.solver"),
        ('snapshot_prefix: "other/lenet"', Path("other/lenet")),
    ]:
        path.write_text("base_lr: 0.1\n" + given)
        assert Path(read_solver(path).message.snapshot_prefix) == expected
