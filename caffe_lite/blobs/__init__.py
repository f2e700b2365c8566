"""Blobs: the arrays that flow between layers, and the parameters that layers learn."""

from .blob import Blob

__all__ = ["Blob"]
