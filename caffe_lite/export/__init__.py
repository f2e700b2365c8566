"""Nets in other forms: folded, in ONNX, as modules of PyTorch."""

from ..media.preparation import Preparation
from .onnx_export import to_onnx
from .onnx_import import from_onnx, from_torch
from .preparing import ImageInput
from .torch_export import to_source, to_torch, to_weights

__all__ = [
    "ImageInput",
    "Preparation",
    "from_onnx",
    "from_torch",
    "to_onnx",
    "to_source",
    "to_torch",
    "to_weights",
]
