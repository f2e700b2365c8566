"""Neurons: layers that compute y = f(x) element by element."""

from __future__ import annotations

from collections.abc import Sequence

from ...blobs import Blob
from ...layer import Kind, Layer
from ...onnx_graph import OnnxGraph, Value
from ...ops.array import Array


class NeuronLayer(Layer):
    """A layer whose gradient follows from its input alone."""

    kind = Kind.NEURON

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = bottom[0].data
        top[0].data = self.value(self.saved.x)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.gradient(top[0].diff, self.saved.x)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [self.written(g, bottom[0])]

    def value(self, x: Array) -> Array:
        """Return f(x)."""
        raise NotImplementedError

    def written(self, g: OnnxGraph, x: Value) -> Value:
        """Write f(x) into a graph."""
        raise NotImplementedError

    def gradient(self, dy: Array, x: Array) -> Array:
        """Return dy f'(x)."""
        raise NotImplementedError
