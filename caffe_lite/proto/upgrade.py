"""Brings what older Caffes wrote to today's form, by the original's rules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import PrototxtError
from . import caffe_pb2

if TYPE_CHECKING:
    from .parser import Parsed, Path

_SOLVER_TYPES = {
    caffe_pb2.SolverParameter.SGD: "SGD",
    caffe_pb2.SolverParameter.NESTEROV: "Nesterov",
    caffe_pb2.SolverParameter.ADAGRAD: "AdaGrad",
    caffe_pb2.SolverParameter.RMSPROP: "RMSProp",
    caffe_pb2.SolverParameter.ADADELTA: "AdaDelta",
    caffe_pb2.SolverParameter.ADAM: "Adam",
}


def refuse_legacy(parsed: Parsed[caffe_pb2.NetParameter], net_path: Path = ()) -> None:
    """Raise if a net is written in the V0 or V1 format."""
    net: caffe_pb2.NetParameter = parsed.at(*net_path)
    for index, layer in enumerate(net.layers):
        version = "V0" if layer.HasField("layer") else "V1"
        raise PrototxtError(
            f"this net is in the old {version} format (`layers`), which this version does not read yet",
            where=parsed.where(*net_path, "layers", index),
            layer=layer.layer.name or layer.name or None,
            hint="Upgrade it with Caffe's upgrade_net_proto_text",
        )


def upgrade_net(parsed: Parsed[caffe_pb2.NetParameter], net_path: Path = ()) -> None:
    """Bring a net to today's form in place; its places stay right."""
    _upgrade_inputs(parsed, net_path)
    _upgrade_batch_norm(parsed.at(*net_path))


def _upgrade_inputs(parsed: Parsed[caffe_pb2.NetParameter], net_path: Path) -> None:
    """Turn `input` with `input_shape` or `input_dim` into one Input layer at the front.

    Shapes win over dims, and shapes without an `input` mean nothing, as in the original. It also drops inputs without
    any shape, and crashes where there are too few: here the first is an error unless a layer makes the input, the
    second always.
    """
    net: caffe_pb2.NetParameter = parsed.at(*net_path)
    if not net.input:
        return
    shapes = list(net.input_shape)
    if not shapes:
        dims = list(net.input_dim)
        shapes = [caffe_pb2.BlobShape(dim=dims[start : start + 4]) for start in range(0, len(dims) - len(dims) % 4, 4)]
    made = {top for layer in net.layer for top in layer.top}
    if not net.input_shape and not net.input_dim and made.issuperset(net.input):
        net.ClearField("input")
        return
    if len(shapes) < len(net.input):
        name = net.input[len(shapes)]
        given = f"{len(net.input_shape)} input_shape" if net.input_shape else f"{len(net.input_dim)} input_dim"
        raise PrototxtError(
            f'input "{name}" has no shape: there are {given} for {len(net.input)} inputs',
            where=parsed.where(*net_path, "input", len(shapes)),
            hint=f'Add input_shape {{ dim: ... }} for "{name}"' + ("" if net.input_shape else ", or four input_dim"),
        )
    layer = caffe_pb2.LayerParameter(name="input", type="Input", top=net.input)
    layer.input_param.shape.extend(shapes[: len(net.input)])
    layers = [layer, *net.layer]
    del net.layer[:]
    net.layer.extend(layers)
    parsed.insert((*net_path, "layer", 0), (*net_path, "input", 0))
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _upgrade_batch_norm(net: caffe_pb2.NetParameter) -> None:
    """Freeze the statistics of BatchNorm layers that give all three of them a `param`, as once was needed."""
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = 0.0
                spec.decay_mult = 0.0


def upgrade_solver(parsed: Parsed[caffe_pb2.SolverParameter]) -> None:
    """Turn `solver_type` into `type`, and upgrade the nets written inside the solver."""
    solver = parsed.message
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise PrototxtError(
                "the solver has both type and solver_type, its old form",
                where=parsed.where("solver_type"),
                hint="Remove solver_type",
            )
        solver.type = _SOLVER_TYPES[solver.solver_type]
        solver.ClearField("solver_type")
    nets: list[Path] = [(name,) for name in ("net_param", "train_net_param") if solver.HasField(name)]
    nets += [("test_net_param", index) for index in range(len(solver.test_net_param))]
    for path in nets:
        refuse_legacy(parsed, path)  # type: ignore[arg-type]
        upgrade_net(parsed, path)  # type: ignore[arg-type]


def default_snapshot_prefix(parsed: Parsed[caffe_pb2.SolverParameter]) -> None:
    """Name snapshots after the solver's file, if the solver does not name them or only gives a folder."""
    solver = parsed.message
    stem = os.path.splitext(parsed.file)[0]
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = stem
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
