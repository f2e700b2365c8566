"""Engines: each does the arithmetic of layers on one kind of array."""

from __future__ import annotations

import functools
import os
import warnings
from importlib.util import find_spec

from ..errors import EngineError, MissingExtra
from .base import Array, Ops
from .memory import set_memory_recycling

__all__ = [
    "Array",
    "Ops",
    "available_engines",
    "get_ops",
    "on_gpu",
    "set_device",
    "set_engine",
    "set_memory_recycling",
    "set_mode_cpu",
    "set_mode_gpu",
]

_engines = ("numpy", "torch")
_chosen: str | None = None
_gpu = 0
_on_gpu = False


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
    """Let nets made from now on compute on the CPU, as they do without a word."""
    global _on_gpu
    _on_gpu = False


def set_mode_gpu() -> None:
    """Let nets made from now on compute on the GPU of ``set_device``, with the torch engine.

    An EngineError if there is no such GPU that torch can use. With CAFFE_LITE_CPU=1 (``caffe-lite run --cpu``) it only
    warns, and the CPU computes.
    """
    global _on_gpu
    if _stay_on_cpu():
        return
    _check_gpu(_gpu)
    _on_gpu = True


def set_device(index: int) -> None:
    """Choose the GPU that ``set_mode_gpu`` means, counted from 0; an EngineError if it is not there.

    With CAFFE_LITE_CPU=1 it only warns, as that does.
    """
    global _gpu
    if _stay_on_cpu():
        return
    _check_gpu(index)
    _gpu = index


def on_gpu() -> bool:
    """Whether nets made from now on compute on a GPU."""
    return _on_gpu


def get_ops(engine: str | None = None, dtype: str = "float32") -> Ops:
    """The operations of an engine by name; without one, of the engine in force."""
    wanted = engine or _chosen or os.environ.get("CAFFE_LITE_ENGINE") or ("torch" if _on_gpu else "numpy")
    name = _resolved(wanted)
    if _on_gpu and name != "torch":
        raise EngineError(
            f"the {name} engine does not compute on GPUs", hint="choose torch, or the CPU: set_mode_cpu()"
        )
    if name == "torch":
        from .torch_ops import TorchOps

        return TorchOps(dtype, f"cuda:{_gpu}" if _on_gpu else "cpu")
    from .numpy_ops import NumpyOps

    return NumpyOps(dtype)


def _stay_on_cpu() -> bool:
    """Whether CAFFE_LITE_CPU asks to take calls for a GPU and compute on the CPU; the first such call warns."""
    if os.environ.get("CAFFE_LITE_CPU", "0") in ("", "0"):
        return False
    _warn_of_cpu()
    return True


@functools.cache
def _warn_of_cpu() -> None:
    what = "set_mode_gpu and set_device do nothing: the CPU computes, as CAFFE_LITE_CPU or caffe-lite run --cpu asks"
    warnings.warn(what, stacklevel=4)


def _check_gpu(index: int) -> None:
    if not find_spec("torch"):
        raise MissingExtra("torch", "torch", "compute on a GPU")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        build = f"a build for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        raise EngineError(
            f"there is no GPU here that torch {torch.__version__}, {build}, can use",
            hint="use the CPU (no --gpu; in a script set_mode_cpu()), or install a driver and a torch that suit it",
        )
    if not 0 <= index < count:
        raise EngineError(f"there is no GPU {index}", hint=f"choose among 0 to {count - 1}")


def _resolved(name: str) -> str:
    if name == "auto":
        return available_engines()[-1]
    if name not in _engines:
        raise EngineError(f"unknown engine {name!r}", hint=f"engines here: {', '.join(available_engines())}")
    if not find_spec(name):
        raise MissingExtra(name, name, f"run the {name} engine")
    return name
