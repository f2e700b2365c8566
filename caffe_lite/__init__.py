"""A Caffe-style layer framework that runs what was written for Caffe; ``import caffe_lite as caffe`` ports a script.

Names and modules are imported when they are first used, so that ``import caffe_lite`` alone is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import Classifier as Classifier
    from .detector import Detector as Detector
    from .errors import CaffeError as CaffeError
    from .layer import layer_type_list as layer_type_list
    from .layer import register_layer as register_layer
    from .logs.log import init_log as init_log
    from .logs.log import log as log
    from .logs.log import set_logging_disabled as set_logging_disabled
    from .net.random import set_random_seed as set_random_seed
    from .net_spec import NetSpec as NetSpec
    from .net_spec import params as params
    from .net_spec import to_proto as to_proto
    from .ops import available_engines as available_engines
    from .ops import register_engine as register_engine
    from .ops import set_device as set_device
    from .ops import set_engine as set_engine
    from .ops import set_memory_recycling as set_memory_recycling
    from .ops import set_mode_cpu as set_mode_cpu
    from .ops import set_mode_gpu as set_mode_gpu
    from .pycaffe.alias import install_as_caffe as install_as_caffe
    from .pycaffe.layer import UserLayer
    from .pycaffe.net import TEST as TEST
    from .pycaffe.net import TRAIN as TRAIN
    from .pycaffe.net import Net as Net
    from .pycaffe.net import set_phase_test as set_phase_test
    from .pycaffe.net import set_phase_train as set_phase_train
    from .pycaffe.parallel import NCCL as NCCL
    from .pycaffe.parallel import has_nccl as has_nccl
    from .pycaffe.parallel import set_multiprocess as set_multiprocess
    from .pycaffe.parallel import set_solver_count as set_solver_count
    from .pycaffe.parallel import set_solver_rank as set_solver_rank
    from .pycaffe.parallel import solver_count as solver_count
    from .pycaffe.parallel import solver_rank as solver_rank
    from .pycaffe.timer import Timer as Timer
    from .solvers import AdaDeltaSolver as AdaDeltaSolver
    from .solvers import AdaGradSolver as AdaGradSolver
    from .solvers import AdamSolver as AdamSolver
    from .solvers import NesterovSolver as NesterovSolver
    from .solvers import RMSPropSolver as RMSPropSolver
    from .solvers import SGDSolver as SGDSolver
    from .solvers import get_solver as get_solver

    Layer = UserLayer

__version__ = "0.1.0"

_NAMES = {
    "Classifier": "classifier.Classifier",
    "Detector": "detector.Detector",
    "CaffeError": "errors.CaffeError",
    "layer_type_list": "layer.layer_type_list",
    "register_layer": "layer.register_layer",
    "init_log": "logs.log.init_log",
    "log": "logs.log.log",
    "set_logging_disabled": "logs.log.set_logging_disabled",
    "set_random_seed": "net.random.set_random_seed",
    "NetSpec": "net_spec.NetSpec",
    "params": "net_spec.params",
    "to_proto": "net_spec.to_proto",
    "available_engines": "ops.available_engines",
    "register_engine": "ops.register_engine",
    "set_device": "ops.set_device",
    "set_engine": "ops.set_engine",
    "set_memory_recycling": "ops.set_memory_recycling",
    "set_mode_cpu": "ops.set_mode_cpu",
    "set_mode_gpu": "ops.set_mode_gpu",
    "install_as_caffe": "pycaffe.alias.install_as_caffe",
    "Layer": "pycaffe.layer.UserLayer",
    "TEST": "pycaffe.net.TEST",
    "TRAIN": "pycaffe.net.TRAIN",
    "Net": "pycaffe.net.Net",
    "set_phase_test": "pycaffe.net.set_phase_test",
    "set_phase_train": "pycaffe.net.set_phase_train",
    "NCCL": "pycaffe.parallel.NCCL",
    "has_nccl": "pycaffe.parallel.has_nccl",
    "set_multiprocess": "pycaffe.parallel.set_multiprocess",
    "set_solver_count": "pycaffe.parallel.set_solver_count",
    "set_solver_rank": "pycaffe.parallel.set_solver_rank",
    "solver_count": "pycaffe.parallel.solver_count",
    "solver_rank": "pycaffe.parallel.solver_rank",
    "Timer": "pycaffe.timer.Timer",
    "AdaDeltaSolver": "solvers.AdaDeltaSolver",
    "AdaGradSolver": "solvers.AdaGradSolver",
    "AdamSolver": "solvers.AdamSolver",
    "NesterovSolver": "solvers.NesterovSolver",
    "RMSPropSolver": "solvers.RMSPropSolver",
    "SGDSolver": "solvers.SGDSolver",
    "get_solver": "solvers.get_solver",
}
_MODULES = [
    "_caffe",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "io",
    "layers",
    "model_libs",
    "net_spec",
    "proto",
    "pycaffe",
]

__all__ = sorted([*_NAMES, "io", "layers"])


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        module, _, attribute = _NAMES[name].rpartition(".")
        value = globals()[name] = getattr(import_module(f".{module}", __name__), attribute)
        return value
    if not name.startswith("__"):
        try:
            return import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
