"""Input: blobs that the user fills."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer


@register_layer("Input")
class InputLayer(Layer):
    """Tops that hold the values that the user writes into them.

    Tops: any number. Reads ``input_param``: shape, one for all tops or one per top; without a shape, a top is a scalar
    until the user reshapes it. The shapes are set once, so a reshaped input keeps its shape.
    Source: the original's input_layer.cpp.
    """

    kind = Kind.DATA
    formula = r"y = \text{what is written into it}"
    bottoms = (0, 0)
    tops = (1, None)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shapes = self.param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            self.error(f"{len(shapes)} shapes for {len(top)} tops", "give input_param one shape, or one per top")
        for i, blob in enumerate(top if shapes else ()):
            blob.Reshape(sizes(self, shapes[i if len(shapes) > 1 else 0].dim))

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass


def sizes(layer: Layer, dim: Sequence[int]) -> Sequence[int]:
    """Return the dimensions that a prototxt gives for a blob, none of which may be negative."""
    if min(dim, default=0) < 0:
        layer.error(f"the shape {list(dim)} has a negative dimension", "give every dimension its size")
    return dim
