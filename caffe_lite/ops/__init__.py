"""Engines: each does the arithmetic of layers on one kind of array."""

from __future__ import annotations

import os
from importlib.util import find_spec

from ..errors import EngineError, MissingExtra
from .base import Array, Ops

__all__ = ["Array", "Ops", "available_engines", "get_ops", "set_device", "set_engine", "set_mode_cpu", "set_mode_gpu"]

_engines = ("numpy", "torch")
_chosen: str | None = None
_gpu = False
_device_id = 0


def available_engines() -> list[str]:
    """The engines installed here, the reference first."""
    return [name for name in _engines if find_spec(name)]


def set_engine(name: str | None) -> None:
    """Choose the engine of nets made from now on: "numpy", "torch", or "auto", the fastest that is installed.

    None goes back to CAFFE_LITE_ENGINE, or numpy.
    """
    global _chosen
    if name is not None:
        _resolved(name)
    _chosen = name


def set_mode_gpu() -> None:
    """Make nets from now on for the GPU that ``set_device`` chose, with the torch engine."""
    global _gpu
    _check_gpu(_device_id)
    _gpu = True


def set_mode_cpu() -> None:
    """Make nets from now on for the CPU."""
    global _gpu
    _gpu = False


def set_device(device_id: int) -> None:
    """Choose the GPU of nets made from now on, once ``set_mode_gpu`` is called."""
    global _device_id
    if _gpu:
        _check_gpu(device_id)
    _device_id = device_id


def get_ops(engine: str | None = None, dtype: str = "float32") -> Ops:
    """The operations of an engine by name; without one, of the engine in force."""
    if engine is None and _gpu:
        engine = "torch"
    if _resolved(engine or _chosen or os.environ.get("CAFFE_LITE_ENGINE") or "numpy") == "torch":
        from .torch_ops import TorchOps

        return TorchOps(dtype, f"cuda:{_device_id}" if _gpu else "cpu")
    from .numpy_ops import NumpyOps

    return NumpyOps(dtype)


def _resolved(name: str) -> str:
    if name == "auto":
        return available_engines()[-1]
    if name not in _engines:
        raise EngineError(f"unknown engine {name!r}", hint=f"engines here: {', '.join(available_engines())}")
    if not find_spec(name):
        raise MissingExtra(name, name, f"run the {name} engine")
    return name


def _check_gpu(device_id: int) -> None:
    _resolved("torch")
    import torch

    count = torch.cuda.device_count()
    if device_id >= count:
        found = f"{count}, numbered from 0" if count else "none that torch can use"
        raise EngineError(f"there is no GPU {device_id}: this machine has {found}", hint="use the CPU: set_mode_cpu()")
