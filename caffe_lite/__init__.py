"""A Caffe-style layer framework that runs what was written for Caffe; ``import caffe_lite as caffe`` is the port."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import io, layers
from .errors import CaffeError
from .layer import layer_type_list, register_layer
from .layers.python import UserLayer as Layer
from .log import init_log, log
from .net import TEST, TRAIN, Net
from .net_spec import NetSpec, params, to_proto
from .ops import available_engines, set_device, set_engine, set_mode_cpu, set_mode_gpu
from .random import set_random_seed
from .solvers import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

if TYPE_CHECKING:
    from .alias import install_as_caffe
    from .classifier import Classifier
    from .detector import Detector
    from .parallel import (
        NCCL,
        has_nccl,
        set_multiprocess,
        set_solver_count,
        set_solver_rank,
        solver_count,
        solver_rank,
    )
    from .timer import Timer

__version__ = "0.1.0"

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "CaffeError",
    "Classifier",
    "Detector",
    "Layer",
    "NCCL",
    "Net",
    "NetSpec",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "available_engines",
    "get_solver",
    "has_nccl",
    "init_log",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "register_layer",
    "set_device",
    "set_engine",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

# What few scripts use is imported when one does: names by their module, and modules of pycaffe's.
_MODULES = {
    "Classifier": "classifier",
    "Detector": "detector",
    "Timer": "timer",
    "install_as_caffe": "alias",
} | dict.fromkeys(
    ("NCCL", "has_nccl", "set_multiprocess", "set_solver_count", "set_solver_rank", "solver_count", "solver_rank"),
    "parallel",
)
_SUBMODULES = ("classifier", "coord_map", "detector", "draw")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
