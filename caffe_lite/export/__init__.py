"""Nets in other forms: folded, in ONNX, as modules of PyTorch."""

from ..media.preparation import Preparation
from .onnx_export import to_onnx
from .preparing import ImageInput

__all__ = ["ImageInput", "Preparation", "to_onnx"]
