"""Nets in other forms: folded, in ONNX, as modules of PyTorch."""

from ..media.preparation import Preparation
from .onnx_export import to_onnx
<<<<<<< HEAD
from .preparing import ImageInput

__all__ = ["ImageInput", "Preparation", "to_onnx"]
=======
from .onnx_import import from_onnx, from_torch

__all__ = ["from_onnx", "from_torch", "to_onnx"]
>>>>>>> fab2bf2 (caffe-lite import, from_onnx, from_torch)
