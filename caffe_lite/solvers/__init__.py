"""Solvers: they train a net as a SolverParameter says; there is one class for each update rule."""

from __future__ import annotations

import os

from ..errors import SolverError
from ..ops import Ops
from ..ops.array import Array
from ..proto.caffe_pb2 import SolverParameter
from ..proto.parsed import Parsed
from ..text.spelling import nearest
from .rules import AdaDeltaSolver, AdaGradSolver, AdamSolver, NesterovSolver, RMSPropSolver, SGDSolver
from .rules_of_forks import AdaMaxSolver, AdamWRSolver, AdamWSolver, SAGSolver
from .signals import SignalHandler, SolverAction
from .solver import Solver, parsed_solver

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdaMaxSolver",
    "AdamSolver",
    "AdamWRSolver",
    "AdamWSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SAGSolver",
    "SGDSolver",
    "SignalHandler",
    "Solver",
    "SolverAction",
    "get_solver",
    "solver_class",
]

_SOLVERS: dict[str, type[SGDSolver]] = {
    solver.type: solver
    for solver in (
        *(SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver),
        *(SAGSolver, AdaMaxSolver, AdamWSolver, AdamWRSolver),
    )
}


def get_solver(
    param: str | os.PathLike[str] | SolverParameter | Parsed[SolverParameter],
    *,
    engine: str | Ops[Array] | None = None,
    device: str | int | None = None,
    compile: bool | None = None,
    split_batch: bool = False,
) -> SGDSolver:
    """Make the solver of the type that a prototxt (a path, or already read) or SolverParameter asks for."""
    parsed = parsed_solver(param)
    return solver_class(parsed)(parsed, engine=engine, device=device, compile=compile, split_batch=split_batch)


def solver_class(parsed: Parsed[SolverParameter]) -> type[SGDSolver]:
    """Return the class for the type that a solver asks for."""
    name = parsed.message.type
    if name not in _SOLVERS:
        near = nearest(name, _SOLVERS)
        raise SolverError(
            f"unknown solver type {name!r}",
            where=parsed.where("type"),
            hint=f"did you mean {near!r}?" if near else f"types: {', '.join(_SOLVERS)}",
        )
    return _SOLVERS[name]
