"""Layers as pycaffe's scripts see and write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import LayerError
from ..layer import Layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2
from .blob import HostBlob, HostBlobs


class Phase(int):
    """TRAIN or TEST in both forms that Python layers expect: it is a number, and its text is the name."""

    def __str__(self) -> str:
        return caffe_pb2.Phase.Name(self)


class MissingMethod(LayerError, AttributeError):
    """The class of a Python layer lacks a method. This is an AttributeError in pycaffe."""


class UserLayer:
    """The base class of users' layers: pycaffe's ``caffe.Layer``.

    A layer defines ``reshape`` and ``forward``, ``backward`` if a gradient passes through it, and ``setup`` if it has
    anything to prepare. These methods get lists of blobs whose ``data`` and ``diff`` are NumPy arrays to write into
    (``top[0].data[...] = ...``), and ``reshape`` calls ``top[0].reshape(n, c, h, w)``. Before every forward pass the
    tops' ``data`` still holds the values of the previous one; before every backward pass the bottoms' ``diff`` is 0.

    Attributes:
        param_str: the text in python_param, from which the layer reads its settings; also ``param_str_``.
        phase: 0 in TRAIN, 1 in TEST; as text it is "TRAIN" or "TEST".
        blobs: the learnable blobs; ``setup`` adds them with ``self.blobs.add_blob(*shape)``, ``backward`` adds to their
            ``diff``.
    """

    type: str = "Python"
    param_str: str
    param_str_: str
    phase: int
    blobs: HostBlobs

    def __init__(self, param: caffe_pb2.LayerParameter) -> None:
        """Do nothing. Subclasses seldom need an ``__init__``, because ``setup`` is the place for preparations."""

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Prepare the layer. It is called once, when the bottoms have their shapes."""

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Give the tops their shapes. It is called before every forward pass."""
        raise missing_method(self, "reshape")

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        """Write into a graph what ``forward`` computes in TEST; return the results, one for each top.

        See ``caffe_lite.layer.Layer.to_onnx``.
        """
        raise missing_method(self, "to_onnx")

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        """Return values that make sense for a bottom, for trying a net out; None if any numbers do."""
        return None


def missing_method(user_layer: Any, name: str) -> MissingMethod:
    """Return the error for a user's layer that lacks a method."""
    cls = type(user_layer)
    return MissingMethod(
        f"class {cls.__module__}.{cls.__qualname__} has no method {name}",
        hint="derive it from caffe_lite.Layer and define it",
    )


class HostLayer(UserLayer):
    """A layer of the package as pycaffe shows it."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self.type = layer.type
        self.phase = Phase(layer.phase)
        self.blobs = HostBlobs(layer.blobs, layer.ops)

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Read the parameters again, for these bottoms and tops; the learnable blobs stay as they are."""
        layer, random = self._layer, self._layer.rng.bit_generator.state
        kept, layer.blobs = layer.blobs, []
        try:
            layer.Setup([blob.blob for blob in bottom], [blob.blob for blob in top])
        finally:
            layer.blobs, layer.rng.bit_generator.state = kept, random

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Give these tops the shapes that follow from these bottoms."""
        self._layer.Reshape([blob.blob for blob in bottom], [blob.blob for blob in top])

    def __repr__(self) -> str:
        return f"<{self.type} layer {self._layer.name!r}>"


def shown_layer(layer: Layer) -> tuple[UserLayer, HostBlobs]:
    """Return the objects that scripts see for the layer and for its learnable blobs."""
    if layer.shown is not None:
        return layer.shown
    host = HostLayer(layer)
    return host, host.blobs
