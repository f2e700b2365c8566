"""SeLUDropout, SeLuDropout: dropout that keeps the mean and the variance after SeLU."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2


@register_layer("SeLUDropout")
class SeLUDropoutLayer(Layer):
    """In TRAIN y = a z + b, where z is alpha with probability dropout_ratio, else x; in TEST y = x.

    With q = 1 - dropout_ratio, a = 1 / sqrt(q (1 + alpha^2 (1 - q))) and b = -a (1 - q) alpha: if x has mean 0 and
    variance 1, then y has, too.
    Bottom and top: any shape. Reads ``selu_dropout_param``: dropout_ratio (0.1), at least 0 and below 1;
    alpha (-1.7580993), SeLU's limit for small x.
    Source: Klambauer et al. 2017 (alpha dropout); selu_dropout_layer.cpp of Synopsys' Caffe.
    """

    kind = Kind.NEURON
    formula = r"y = b + a \begin{cases} \alpha & \text{with probability } r \\ x & \text{else} \end{cases}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.selu_dropout_param
        if not 0 <= p.dropout_ratio < 1:
            self.error(f"dropout_ratio is {p.dropout_ratio:g}", "use at least 0 (forget nothing) and less than 1")
        self.ratio, self.alpha = p.dropout_ratio, p.alpha
        self.forgets = self.phase == caffe_pb2.TRAIN and self.ratio > 0
        kept = 1 - self.ratio
        self.factor = (kept * (1 + self.alpha**2 * self.ratio)) ** -0.5
        self.term = -self.factor * self.ratio * self.alpha

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if self.forgets:
            mask = self.ops.dropout_mask(self.rng, bottom[0].shape, self.ratio)
            self.saved.mask = mask * (self.factor * (1 - self.ratio))
            x = (x - self.alpha) * self.saved.mask + (self.factor * self.alpha + self.term)
        top[0].data = x

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = top[0].diff * self.saved.mask if self.forgets else top[0].diff


@register_layer("SeLuDropout")
class SeLuDropoutLayer(SeLUDropoutLayer):
    """SeLUDropout, see SeLUDropoutLayer, under the name that it has in soeaver's nets.

    Source: soeaver/caffe-model.
    """
