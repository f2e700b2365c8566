"""How each operator of ONNX is written in PyTorch: one table, a function for each operator or for several alike."""

from . import (
    arithmetic,
    detections,
    images,
    neurons,
    normalising,
    places,
    pooling,
    reductions,
    sequences,
    shapes,
    weights,
)
from .table import TRANSLATIONS, write

__all__ = [
    "TRANSLATIONS",
    "arithmetic",
    "detections",
    "images",
    "neurons",
    "normalising",
    "places",
    "pooling",
    "reductions",
    "sequences",
    "shapes",
    "weights",
    "write",
]
