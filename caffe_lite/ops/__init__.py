"""Engines: each does the arithmetic of layers with one kind of array."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import EngineError, MissingExtra
from ..plugins import engine_names, is_installed, load_engine
from .array import Array
from .base import Ops
from .memory import set_memory_recycling

__all__ = [
    "Array",
    "Ops",
    "available_engines",
    "check_gpu",
    "get_ops",
    "on_gpu",
    "register_engine",
    "set_device",
    "set_engine",
    "set_memory_recycling",
    "set_mode_cpu",
    "set_mode_gpu",
]

# Makes the operations of an engine from a dtype ("float32", "float64") and a device ("cpu", "cuda:0").
Factory = Callable[[str, str], Ops[Any]]

_chosen: str | None = None
_gpu = 0
_on_gpu = False


def _numpy(dtype: str, device: str) -> Ops[Any]:
    from .numpy.engine import NumpyOps

    if device != "cpu":
        raise EngineError(
            "the numpy engine does not compute on GPUs",
            hint='choose torch, or the CPU: set_mode_cpu(), device="cpu"',
        )
    return NumpyOps(dtype)


def _torch(dtype: str, device: str) -> Ops[Any]:
    from .torch.engine import TorchOps

    return TorchOps(dtype, device)


def _onnxruntime(dtype: str, device: str) -> Ops[Any]:
    # It runs whole nets, so it stands above them.
    ops: Ops[Any] = import_module("..export.onnxruntime_engine", __package__).OnnxRuntimeOps(dtype, device)
    return ops


# By the package that each needs.
_OWN: dict[str, Factory] = {"numpy": _numpy, "torch": _torch, "onnxruntime": _onnxruntime}
_EXTRAS = {"torch": "torch", "onnxruntime": "onnx"}
_registered: dict[str, Factory] = {}


def register_engine(name: str, factory: Factory) -> None:
    """Let nets choose an engine by this name: ``factory(dtype, device)`` returns its operations.

    A distribution may name its factory in the entry point group ``caffe_lite.engines`` instead; it is then
    imported when somebody chooses the engine.
    """
    if name in _OWN or _registered.get(name, factory) is not factory:
        raise ValueError(f"the name {name!r} of an engine is taken")
    _registered[name] = factory


def available_engines() -> list[str]:
    """Return the names of the engines installed here, the reference first."""
    own = [name for name in _OWN if is_installed(name)]
    return list(dict.fromkeys([*own, *_registered, *engine_names()]))


def set_engine(name: str | None) -> None:
    """Choose the engine of nets created from now on: "numpy", "torch", or "auto", the fastest that is installed.

    None restores the default: CAFFE_LITE_ENGINE, or numpy.
    """
    global _chosen
    if name is not None:
        _factory(name)
    _chosen = name


def set_mode_cpu() -> None:
    """Let nets created from now on compute on the CPU, which is the default."""
    global _on_gpu
    _on_gpu = False


def set_mode_gpu() -> None:
    """Let nets created from now on compute on the GPU of ``set_device``, with the torch engine.

    Raises an EngineError if torch cannot use a GPU with that number. With CAFFE_LITE_CPU=1 (``caffe-lite run --cpu``)
    it only warns, and the CPU computes.
    """
    global _on_gpu
    if _stay_on_cpu():
        return
    check_gpu(_gpu)
    _on_gpu = True


def set_device(index: int) -> None:
    """Choose the GPU for ``set_mode_gpu``, counted from 0; raise an EngineError if there is none with that number.

    With CAFFE_LITE_CPU=1 it only warns, as ``set_mode_gpu`` does.
    """
    global _gpu
    if _stay_on_cpu():
        return
    check_gpu(index)
    _gpu = index


def on_gpu() -> bool:
    """Return whether nets created from now on compute on a GPU."""
    return _on_gpu


def get_ops(
    engine: str | Ops[Any] | None = None, dtype: str | None = None, device: str | int | None = None
) -> Ops[Any]:
    """Return the operations of the engine with this name; without a name, those of the engine in force.

    Args:
        engine: its name, or its operations, which are returned as they are.
        dtype: "float32", which is the default, or "float64".
        device: "cpu", "cuda:0" or a GPU's number; by default the choice of ``set_mode_gpu`` and ``set_device``.
    """
    place = _device(device)
    if isinstance(engine, Ops):
        given = {"dtype": (dtype, engine.dtype_name), "device": (device and place, engine.device)}
        for what, (wanted, there) in given.items():
            if wanted not in (None, there):
                raise EngineError(
                    f"{what} {wanted} is asked for, and the operations given are of {there}",
                    hint=f"leave out {what}, or give other operations",
                )
        return engine
    fallback = "numpy" if place == "cpu" else "torch"
    return _factory(engine or _chosen or os.environ.get("CAFFE_LITE_ENGINE") or fallback)(dtype or "float32", place)


def _device(device: str | int | None) -> str:
    if device is None:
        return f"cuda:{_gpu}" if _on_gpu else "cpu"
    if isinstance(device, int):
        device = f"cuda:{device}"
    kind, _, index = device.partition(":")
    if kind == "cuda" and (index.isdecimal() or not index):
        check_gpu(int(index or 0))
        return f"cuda:{int(index or 0)}"
    if device != "cpu":
        raise EngineError(f"unknown device {device!r}", hint='give "cpu", "cuda:0", or the number of a GPU')
    return device


def _stay_on_cpu() -> bool:
    """Return whether CAFFE_LITE_CPU asks to accept calls for a GPU and use the CPU; the first such call warns."""
    if os.environ.get("CAFFE_LITE_CPU", "0") in ("", "0"):
        return False
    _warn_of_cpu()
    return True


@functools.cache
def _warn_of_cpu() -> None:
    what = "set_mode_gpu and set_device do nothing: the CPU computes, as CAFFE_LITE_CPU or caffe-lite run --cpu asks"
    warnings.warn(what, stacklevel=4)


def check_gpu(index: int) -> None:
    """Raise an EngineError if torch can use no GPU with this number."""
    if not is_installed("torch"):
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


def _factory(name: str) -> Factory:
    if name == "auto":
        name = "torch" if is_installed("torch") else "numpy"
    if name in _OWN:
        if not is_installed(name):
            raise MissingExtra(name, _EXTRAS[name], f"run the {name} engine")
        return _OWN[name]
    factory: Factory | None = _registered.get(name) or load_engine(name)
    if factory is None:
        raise EngineError(f"unknown engine {name!r}", hint=f"engines here: {', '.join(available_engines())}")
    return factory
