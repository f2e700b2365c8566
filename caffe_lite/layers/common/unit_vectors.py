"""Weights whose vectors have the length 1."""

from __future__ import annotations

from ...blobs import Blob
from ...layer import Layer
from ...ops.array import Array
from ...proto.caffe_pb2 import TRAIN


def unit_vectors(layer: Layer, blob: Blob, axis: int = 1, eps: float = 0.0) -> Array:
    """Return the vectors along an axis of a learned blob, each divided by sqrt(sum(w^2) + eps).

    In TRAIN they are divided in the blob itself, so that the solver updates divided vectors.
    """
    weight = blob.data
    squares = layer.ops.sum(weight * weight, axis, keepdims=True)
    unit = weight / layer.ops.sqrt(layer.ops.at_least(squares + eps, 1e-37))
    if layer.phase == TRAIN:
        weight[...] = unit
    return unit
