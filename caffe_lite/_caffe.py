"""The names of pycaffe's C++ module, for scripts that check types or reach below the Python interface."""

from __future__ import annotations

from .interpreter.imports import CAFFE_VERSION as __version__
from .layer import layer_type_list
from .logs.log import init_log, log
from .net.random import set_random_seed
from .ops import set_device, set_mode_cpu, set_mode_gpu
from .proto.caffe_pb2 import LayerParameter, SolverParameter
from .pycaffe.blob import HostBlob as Blob
from .pycaffe.blob import HostBlobs as BlobVec
from .pycaffe.layer import UserLayer as Layer
from .pycaffe.net import Net
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
from .solvers import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "BoolVec",
    "DtypeVec",
    "IntVec",
    "Layer",
    "LayerParameter",
    "LayerVec",
    "NCCL",
    "NesterovSolver",
    "Net",
    "NetVec",
    "RMSPropSolver",
    "RawBlobVec",
    "SGDSolver",
    "Solver",
    "SolverParameter",
    "StringVec",
    "Timer",
    "__version__",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]

# C++ vectors: those of blobs are one class here, all others are lists.
RawBlobVec = BlobVec
BoolVec = DtypeVec = IntVec = LayerVec = NetVec = StringVec = list
