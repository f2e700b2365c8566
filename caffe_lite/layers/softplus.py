"""Softplus: a smooth ReLU."""

from __future__ import annotations

from ..layer import register_layer
from .bnll import BNLLLayer


@register_layer("Softplus")
class SoftplusLayer(BNLLLayer):
    """BNLL, see BNLLLayer, under another name.

    Source: softplus_layer.cpp of Synopsys' Caffe, which has no gradient. Difference: y does not overflow.
    """
