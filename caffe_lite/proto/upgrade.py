"""Upgrading nets and solvers of older Caffes to today's format, by the original's rules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from ..errors import PrototxtError
from ..files.paths import path_field, system_path
from ..logs.log import logger
from . import caffe_pb2
from .legacy import upgrade_layers

if TYPE_CHECKING:
    from .parsed import M, Parsed, Path

_SOLVER_TYPES = {
    caffe_pb2.SolverParameter.SGD: "SGD",
    caffe_pb2.SolverParameter.NESTEROV: "Nesterov",
    caffe_pb2.SolverParameter.ADAGRAD: "AdaGrad",
    caffe_pb2.SolverParameter.RMSPROP: "RMSProp",
    caffe_pb2.SolverParameter.ADADELTA: "AdaDelta",
    caffe_pb2.SolverParameter.ADAM: "Adam",
    caffe_pb2.SolverParameter.SAG: "SAG",
    caffe_pb2.SolverParameter.ADAMWR: "AdamWR",
}


def upgrade_net(parsed: Parsed[M], net_path: Path = ()) -> bool:
    """Upgrade a net in place; the places of its fields stay right. Return False if some field in it meant nothing."""
    net: caffe_pb2.NetParameter = parsed.at(*net_path)
    complete = upgrade_layers(parsed, net_path)
    if net.input:
        logger.info("Attempting to upgrade input file specified using deprecated input fields: %s", parsed.file)
        _upgrade_inputs(parsed, net_path)
        logger.info("Successfully upgraded file specified using deprecated input fields.")
        logger.warning("Note that future Caffe releases will only support input layers and not input fields.")
    if any(_is_old_batch_norm(layer) for layer in net.layer):
        logger.info("Attempting to upgrade batch norm layers using deprecated params: %s", parsed.file)
        _upgrade_batch_norm(net)
        logger.info("Successfully upgraded batch norm layers using deprecated params.")
    return complete


def is_old_net(net: caffe_pb2.NetParameter) -> bool:
    """Return whether ``upgrade_net`` would change something."""
    return bool(net.layers or net.input or any(_is_old_batch_norm(layer) for layer in net.layer))


def _upgrade_inputs(parsed: Parsed[M], net_path: Path) -> None:
    """Turn `input` with `input_shape` or `input_dim` into one Input layer at the front.

    Shapes take precedence over dims, and shapes without an `input` mean nothing, as in the original. The original drops
    inputs if there are no shapes at all, and crashes if there are too few. Here the first is an error unless layers
    make the inputs, and the second is always an error.
    """
    net: caffe_pb2.NetParameter = parsed.at(*net_path)
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
    """Freeze the statistics of BatchNorm layers that give each of the three a `param`, as was once necessary."""
    for layer in filter(_is_old_batch_norm, net.layer):
        for spec in layer.param:
            spec.lr_mult = 0.0
            spec.decay_mult = 0.0


def _is_old_batch_norm(layer: caffe_pb2.LayerParameter) -> bool:
    return layer.type == "BatchNorm" and len(layer.param) == 3


def upgrade_solver(parsed: Parsed[caffe_pb2.SolverParameter]) -> bool:
    """Turn `solver_type` into `type`, and upgrade the nets inside the solver; return False as ``upgrade_net`` does."""
    solver = parsed.message
    if solver.HasField("solver_type"):
        kind = "'solver_type' field (enum)"
        logger.info("Attempting to upgrade input file specified using deprecated %s': %s", kind, parsed.file)
        if solver.HasField("type"):
            raise PrototxtError(
                "the solver has both type and solver_type, its old form",
                where=parsed.where("solver_type"),
                hint="Remove solver_type",
            )
        solver.type = _SOLVER_TYPES[solver.solver_type]
        solver.ClearField("solver_type")
        logger.info("Successfully upgraded file specified using deprecated %s to 'type' field (string).", kind)
        logger.warning("Note that future Caffe releases will only support 'type' field (string) for a solver's type.")
    complete = True
    for path in _nets_in(solver):
        complete = upgrade_net(parsed, path) and complete
    return complete


def is_old_solver(parsed: Parsed[caffe_pb2.SolverParameter]) -> bool:
    """Return whether ``upgrade_solver`` would change something."""
    solver = parsed.message
    return solver.HasField("solver_type") or any(is_old_net(parsed.at(*path)) for path in _nets_in(solver))


def _nets_in(solver: caffe_pb2.SolverParameter) -> list[Path]:
    single: list[Literal["net_param", "train_net_param"]] = ["net_param", "train_net_param"]
    nets: list[Path] = [(name,) for name in single if solver.HasField(name)]
    return nets + [("test_net_param", index) for index in range(len(solver.test_net_param))]


def default_snapshot_prefix(parsed: Parsed[caffe_pb2.SolverParameter]) -> None:
    """Name snapshots after the solver's file if the solver gives no name for them, or only a folder."""
    solver = parsed.message
    stem = path_field(os.path.splitext(parsed.file)[0])
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = stem
    elif os.path.isdir(system_path(solver.snapshot_prefix, where=parsed.where("snapshot_prefix"))):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
