"""ConnectedComponent: a number of its own for each connected region of a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from .common.graphs import components


@register_layer("ConnectedComponent")
class ConnectedComponentLayer(Layer):
    """y = the number of the pixel's component: the pixels of its label that neighbours above, below and beside connect.

    In each plane, numbers count from the largest label + 1 on, in the order of the components' first pixels, row by
    row. Label 0, the background, stays 0.
    Bottom: labels, (N, C, H, W), truncated to whole numbers; no gradient. Top: the same shape.
    Source: connected_component_layer.cpp of naibaf7's Caffe. Difference: labels may have any size (the original keeps 8
    bits of each). A net with this layer cannot be compiled, because it compares labels on the host.
    """

    kind = Kind.OTHER
    formula = r"y_{hw} = \text{number of the component of } (h, w)"
    not_differentiable = (0,)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "components need 4: (N, C, H, W)")
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n, channels, h, w = bottom[0].shape
        labels = self.ops.host_view(bottom[0].data).astype(np.int64).reshape(n * channels, h, w)
        node = np.arange(labels.size).reshape(labels.shape)
        pairs = [(node[:, :-1], node[:, 1:]), (node[:, :, :-1], node[:, :, 1:])]
        u, v = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
        values = labels.ravel()
        equal = (values[u] == values[v]) & (values[u] != 0)
        first = components(labels.size, u[equal], v[equal])
        starts = ((first == node.ravel()) & (values != 0)).reshape(n * channels, h * w)
        numbers = starts.cumsum(1) + labels.reshape(n * channels, h * w).max(1, initial=0, keepdims=True)
        y = np.where(values != 0, numbers.ravel()[first], 0)
        top[0].data = self.ops.asarray(y.reshape(bottom[0].shape))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> NoReturn:
        self.error("ONNX has no operation that finds connected regions", "Export the layers before it")

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("the number of a component has no gradient", "set propagate_down: false for its bottom")
