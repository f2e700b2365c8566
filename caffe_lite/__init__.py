"""A Caffe-style layer framework that runs what was written for Caffe; ``import caffe_lite as caffe`` is the port."""

from __future__ import annotations

from . import io, layers
from .alias import install_as_caffe
from .errors import CaffeError
from .layer import layer_type_list, register_layer
from .layers.python import UserLayer as Layer
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

__version__ = "0.1.0"

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "CaffeError",
    "Layer",
    "Net",
    "NetSpec",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "available_engines",
    "get_solver",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "register_layer",
    "set_device",
    "set_engine",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
]
