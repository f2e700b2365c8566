"""Solvers: train a net as a SolverParameter says; one class for each update rule."""

from __future__ import annotations

import difflib
import os

from ..errors import SolverError
from ..ops import Ops
from ..proto.caffe_pb2 import SolverParameter
from ..proto.prototxt import Parsed
from .rules import AdaDeltaSolver, AdaGradSolver, AdamSolver, NesterovSolver, RMSPropSolver, SGDSolver
from .signals import SignalHandler, SolverAction
from .solver import Solver, parsed_solver

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "SignalHandler",
    "Solver",
    "SolverAction",
    "get_solver",
    "solver_class",
]

_SOLVERS: dict[str, type[SGDSolver]] = {
    solver.type: solver
    for solver in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(
    param: str | os.PathLike[str] | SolverParameter | Parsed[SolverParameter],
    *,
    engine: str | Ops | None = None,
    device: str | int | None = None,
    compile: bool | None = None,
) -> SGDSolver:
    """The solver of the type that a prototxt (by path, or read) or SolverParameter asks for."""
    parsed = parsed_solver(param)
    return solver_class(parsed)(parsed, engine=engine, device=device, compile=compile)


def solver_class(parsed: Parsed[SolverParameter]) -> type[SGDSolver]:
    """The class of the type that a solver asks for."""
    name = parsed.message.type
    if name not in _SOLVERS:
        near = difflib.get_close_matches(name, _SOLVERS, 1) or [t for t in _SOLVERS if t.lower() == name.lower()]
        raise SolverError(
            f"unknown solver type {name!r}",
            where=parsed.where("type"),
            hint=f"did you mean {near[0]!r}?" if near else f"types: {', '.join(_SOLVERS)}",
        )
    return _SOLVERS[name]
