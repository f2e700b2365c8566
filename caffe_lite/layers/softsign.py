"""Softsign: the input divided by 1 plus its absolute value."""

from __future__ import annotations

from ..layer import register_layer
from ..ops.array import Array
from .common.neuron import NeuronLayer


@register_layer("Softsign")
class SoftsignLayer(NeuronLayer):
    """y = x / (1 + |x|), with dy/dx = 1 / (1 + |x|)^2.

    Bottom and top: any shape. Source: softsign_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    formula = r"y = \frac{x}{1 + |x|}"

    def value(self, x: Array) -> Array:
        return x / (1 + self.ops.abs(x))

    def gradient(self, dy: Array, x: Array) -> Array:
        return dy / (1 + self.ops.abs(x)) ** 2
