"""ELU: the exponential linear unit."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("ELU")
class ELULayer(Layer):
    """y = lambda * x where x > 0, else lambda * alpha * (e^x - 1), with dy/dx = lambda * alpha * e^x there.

    Bottom and top: any shape. Reads ``elu_param``: alpha (1), lambda (1), which NVIDIA's Caffe adds for SELU.
    Source: Clevert et al. 2015; the original's elu_layer.cpp. Difference: with a lambda, the gradient of NVIDIA's is
    wrong where x is negative.
    """

    kind = Kind.NEURON
    formula = r"y = \lambda \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & \text{else} \end{cases}"
    reads_fork_fields = ("ELUParameter.lambda",)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.elu_param
        self.alpha, self.scale = p.alpha, getattr(p, "lambda")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = x = bottom[0].data
        self.saved.y = top[0].data = self.ops.elu(x, self.alpha, self.scale)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.affine(g.Elu(bottom[0], alpha=self.alpha), self.scale)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.elu_backward(top[0].diff, self.saved.x, self.saved.y, self.alpha, self.scale)
