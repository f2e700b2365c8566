"""Nets in other forms: folded, in ONNX, as modules of PyTorch."""

from .onnx_export import to_onnx

__all__ = ["to_onnx"]
