"""Silence: reads blobs that nothing else reads, so that they are not outputs of the net."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer


@register_layer("Silence")
class SilenceLayer(Layer):
    """Computes nothing; its bottoms, any number, get a gradient of 0. Source: the original's silence_layer.cpp."""

    kind = Kind.ARRANGEMENT
    formula = r"\frac{\partial L}{\partial x} = 0"
    bottoms = (1, None)
    tops = (0, 0)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, needed in zip(bottom, propagate_down, strict=True):
            if needed:
                blob.clear_diff()
