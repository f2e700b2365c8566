"""ReLU: the rectifier, optionally leaky."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..ops.array import Array
from ..ops.roles import Rectifier


@register_layer("ReLU")
class ReLULayer(Layer):
    """y = x where x > 0, else negative_slope * x.

    Bottom and top: any shape. Reads ``relu_param``: negative_slope (0).
    In place with a negative negative_slope, the original's gradient is wrong (it sees only y); this layer keeps x.
    Source: Nair and Hinton 2010; the original's relu_layer.cpp.
    """

    kind = Kind.NEURON
    formula = r"y = \begin{cases} x & x > 0 \\ a x & \text{else} \end{cases}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.slope = self.param.relu_param.negative_slope

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Rectifier:
        return Rectifier(self.slope, self._remember)

    def _remember(self, y: Array) -> None:
        self.saved.signed = y

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        y = self.ops.relu(x, self.slope)
        # y has the sign of x unless the slope is negative, and the top keeps it alive anyway.
        self.saved.signed = y if self.slope >= 0 else x
        top[0].data = y

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self.ops.relu_backward(top[0].diff, self.saved.signed, self.slope)

    def Deconv(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], guided: bool) -> None:
        """Compute dx = max(dy, 0), if guided only where x is positive. A negative slope has no effect."""
        if propagate_down[0]:
            dy = self.ops.at_least(top[0].diff, 0)
            bottom[0].diff = self.ops.relu_backward(dy, self.saved.signed, 0.0) if guided else dy
