"""A Caffe-style layer framework that runs what was written for Caffe; ``import caffe_lite as caffe`` is the port."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import io
from .errors import CaffeError
from .layer import layer_type_list, register_layer
from .logs.log import init_log, log, set_logging_disabled
from .net.random import set_random_seed
from .ops import (
    available_engines,
    register_engine,
    set_device,
    set_engine,
    set_memory_recycling,
    set_mode_cpu,
    set_mode_gpu,
)
from .pycaffe.layer import UserLayer as Layer
from .pycaffe.net import TEST, TRAIN, Net, set_phase_test, set_phase_train
from .solvers import AdaDeltaSolver, AdaGradSolver, AdamSolver, NesterovSolver, RMSPropSolver, SGDSolver, get_solver

if TYPE_CHECKING:
    from . import layers
    from .classifier import Classifier
    from .detector import Detector
    from .net_spec import NetSpec, params, to_proto
    from .pycaffe.alias import install_as_caffe
    from .pycaffe.parallel import (
        NCCL,
        has_nccl,
        set_multiprocess,
        set_solver_count,
        set_solver_rank,
        solver_count,
        solver_rank,
    )
    from .pycaffe.timer import Timer

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
    "register_engine",
    "set_device",
    "set_engine",
    "set_logging_disabled",
    "set_memory_recycling",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_phase_test",
    "set_phase_train",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

# What not every script uses is imported when one does: names by where they are, and modules of pycaffe's.
_LATER = {
    "Classifier": "classifier.Classifier",
    "Detector": "detector.Detector",
    "NCCL": "pycaffe.parallel.NCCL",
    "NetSpec": "net_spec.NetSpec",
    "Timer": "pycaffe.timer.Timer",
    "has_nccl": "pycaffe.parallel.has_nccl",
    "install_as_caffe": "pycaffe.alias.install_as_caffe",
    "params": "net_spec.params",
    "set_multiprocess": "pycaffe.parallel.set_multiprocess",
    "set_solver_count": "pycaffe.parallel.set_solver_count",
    "set_solver_rank": "pycaffe.parallel.set_solver_rank",
    "solver_count": "pycaffe.parallel.solver_count",
    "solver_rank": "pycaffe.parallel.solver_rank",
    "to_proto": "net_spec.to_proto",
}
_SUBMODULES = ("_caffe", "classifier", "coord_map", "detector", "draw", "layers", "model_libs", "net_spec")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LATER[name].rpartition(".")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
