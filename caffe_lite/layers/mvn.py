"""MVN: normalises every plane to mean 0 and, by default, variance 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("MVN")
class MVNLayer(Layer):
    """y = (x - mean) / (deviation + eps), or only x - mean, for each channel of each sample separately.

    Bottom: (N, C, H, W); a bottom with fewer axes counts as having trailing 1s. Top: that shape, always with at least
    four axes; in place, the shape stays as it is.
    Reads ``mvn_param``: normalize_variance (true); across_channels (false), to take all channels of a sample together;
    eps (1e-9).
    As in the original, the gradient is that of eps 0, divided by deviation + eps, which is right where eps is small
    compared with the deviation. Source: the original's mvn_layer.cpp. Difference: bottoms may have more than four axes.
    """

    kind = Kind.NORMALISATION
    formula = r"y = \frac{x - \mu}{\sigma + \epsilon}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.mvn_param
        self.normalize_variance, self.across_channels, self.eps = p.normalize_variance, p.across_channels, p.eps

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.shape = (*shape, *[1] * (4 - len(shape)))
        self.axes = tuple(range(1 if self.across_channels else 2, len(self.shape)))
        self.size = max(1, prod(self.shape[axis] for axis in self.axes))
        if top[0] is not bottom[0]:
            top[0].Reshape(self.shape)

    def _mean(self, x: Array) -> Array:
        return self.ops.sum(x, self.axes, keepdims=True) / self.size

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.ops.reshape(bottom[0].data, self.shape)
        y = x - self._mean(x)
        if self.normalize_variance:
            self.saved.deviation = self.ops.sqrt(self._mean(y * y)) + self.eps
            self.saved.y = y = y / self.saved.deviation
        top[0].data = self.ops.reshape(y, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = g.reshape(bottom[0], (*bottom[0].sizes, *self.shape[bottom[0].ndim :]))
        y = g.Sub(x, g.reduce("ReduceMean", x, self.axes))
        if self.normalize_variance:
            variance = g.reduce("ReduceMean", g.Mul(y, y), self.axes)
            y = g.Div(y, g.Add(g.Sqrt(variance), self.eps))
        return [g.reshape(g.like(x, y), top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy = self.ops.reshape(top[0].diff, self.shape)
        dx = dy - self._mean(dy)
        if self.normalize_variance:
            dx = (dx - self.saved.y * self._mean(dy * self.saved.y)) / self.saved.deviation
        bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)
