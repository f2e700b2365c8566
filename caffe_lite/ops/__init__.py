"""Engines: each does the arithmetic of layers on one kind of array."""

from __future__ import annotations

import os

from ..errors import EngineError
from .base import Array, Ops

__all__ = ["Array", "Ops", "available_engines", "get_ops", "set_engine"]

_chosen: str | None = None


def available_engines() -> list[str]:
    """The engines that can be used on this machine, the default first."""
    return ["numpy"]


def set_engine(name: str | None) -> None:
    """Choose the engine of nets made from now on; None goes back to CAFFE_LITE_ENGINE, or numpy."""
    global _chosen
    if name is not None:
        _known(name)
    _chosen = name


def get_ops(engine: str | None = None, dtype: str = "float32") -> Ops:
    """The operations of an engine by name; without one, of the engine in force."""
    _known(engine or _chosen or os.environ.get("CAFFE_LITE_ENGINE") or "numpy")
    from .numpy_ops import NumpyOps

    return NumpyOps(dtype)


def _known(name: str) -> str:
    if name not in ("auto", *available_engines()):
        raise EngineError(f"unknown engine {name!r}", hint=f"engines here: {', '.join(available_engines())}")
    return name
