"""Running modules of PyTorch that are given as source text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import MissingExtra
from .comparing import Arrays


def torch() -> Any:
    """Return the torch package."""
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", "export nets to PyTorch") from None
    return torch


def safetensors() -> Any:
    """Return the package safetensors' part for arrays of NumPy."""
    try:
        import safetensors.numpy
    except ImportError:
        raise MissingExtra("safetensors", "onnx", "write weights as .safetensors files") from None
    return safetensors.numpy


def module_of(text: str, name: str, weights: Arrays | None = None) -> Any:
    """Return an object, for inference, of a class in a source text, with these weights."""
    library = torch()
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"{name}.py", "exec"), names)
    module = names[name]().eval()
    if weights is not None:
        module.load_state_dict({key: library.from_numpy(array) for key, array in weights.items()})
    return module


class TorchRun:
    """A module that runs over inputs by name, and returns its outputs by name.

    ``inputs`` names the arguments in their order; ``outputs`` the result of a module that returns one tensor.
    """

    def __init__(self, module: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def __call__(self, fed: Arrays) -> dict[str, np.ndarray]:
        library = torch()
        with library.inference_mode():
            result = self.module(*(library.from_numpy(np.array(fed[name], np.float32)) for name in self.inputs))
        named = result if isinstance(result, dict) else {self.outputs[0]: result}
        return {name: tensor.detach().numpy() for name, tensor in named.items()}
