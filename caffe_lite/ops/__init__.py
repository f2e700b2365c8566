"""Engines: each does the arithmetic of layers on one kind of array."""

from __future__ import annotations

import os
from importlib.util import find_spec

from ..errors import EngineError, MissingExtra
from .base import Array, Ops

__all__ = ["Array", "Ops", "available_engines", "get_ops", "set_engine", "set_mode_cpu", "set_mode_gpu"]

_engines = ("numpy", "torch")
_chosen: str | None = None


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


def set_mode_cpu() -> None:
    """Compute on the CPU, as every engine of this version does."""


def set_mode_gpu() -> None:
    """Refuse: an EngineError, for no engine of this version computes on a GPU."""
    raise EngineError("this version has no engine that computes on a GPU yet", hint="use the CPU: set_mode_cpu()")


def get_ops(engine: str | None = None, dtype: str = "float32") -> Ops:
    """The operations of an engine by name; without one, of the engine in force."""
    if _resolved(engine or _chosen or os.environ.get("CAFFE_LITE_ENGINE") or "numpy") == "torch":
        from .torch_ops import TorchOps

        return TorchOps(dtype)
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
