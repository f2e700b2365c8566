"""ScaledTanH: the hyperbolic tangent, scaled inside and outside."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("ScaledTanH")
class ScaledTanHLayer(NeuronLayer):
    """y = alpha tanh(beta x).

    Bottom and top: any shape. Reads ``scaled_tanh_param``: alpha, beta; both must be given.
    Source: LeCun et al. 1998; scaled_tanh_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = \alpha \tanh(\beta x)"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.scaled_tanh_param
        if not (p.HasField("alpha") and p.HasField("beta")):
            self.error("it has no alpha or no beta", "add scaled_tanh_param { alpha: ... beta: ... }")
        self.alpha, self.beta = p.alpha, p.beta

    def value(self, x: Array) -> Array:
        return self.ops.affine(self._tanh(x), self.alpha, 0.0)

    def written(self, g: OnnxGraph, x: Value) -> Value:
        return g.affine(g.Tanh(g.affine(x, self.beta)), self.alpha)

    def gradient(self, dy: Array, x: Array) -> Array:
        t = self._tanh(x)
        return dy * (1 - t * t) * (self.alpha * self.beta)

    def _tanh(self, x: Array) -> Array:
        return self.ops.tanh(self.ops.affine(x, self.beta, 0.0))
