"""ReLU: the rectifier, optionally leaky."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.roles import Rectifier


@register_layer("ReLU")
class ReLULayer(Layer):
    """y = x where x > 0, else negative_slope * x.

    In Synopsys' Caffe, y may also be limited: to 6 by relu6, to ``maximum`` if this is above 0, and to at least
    ``minimum`` unless this is 0; there is no gradient where it is.
    Bottom and top: any shape. Reads ``relu_param``: negative_slope (0), relu6 (false), maximum (0), minimum (0).
    In place with a negative negative_slope, the original's gradient is wrong (it sees only y); this layer keeps x.
    Source: Nair and Hinton 2010; the original's relu_layer.cpp, and Synopsys'. Difference: NaN stays NaN (Synopsys'
    gives 0).
    """

    kind = Kind.NEURON
    formula = r"y = \begin{cases} x & x > 0 \\ a x & \text{else} \end{cases}"
    reads_fork_fields = tuple(f"ReLUParameter.{field}" for field in ("relu6", "maximum", "minimum"))

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.relu_param
        self.slope = p.negative_slope
        self.most = min(6.0 if p.relu6 else inf, p.maximum if p.maximum > 0 else inf)
        self.least = p.minimum or -inf
        if self.least > self.most:
            self.error(f"minimum {self.least:g} exceeds the largest value {self.most:g}", "correct one of them")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Rectifier | None:
        return Rectifier(self.slope, self._remember, self.most) if self.least == -inf else None

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        y = bottom[0]
        if not self.clamps:
            y = g.LeakyRelu(y, alpha=self.slope) if self.slope else g.Relu(y)
        if (self.least, self.most) != (-inf, inf):
            least = 0.0 if self.clamps else self.least
            y = g.Clip(y, None if least == -inf else least, None if self.most == inf else self.most)
        return [y]

    def _remember(self, y: Array) -> None:
        self.saved.signed = self.saved.y = y

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        if (self.least, self.most) == (-inf, inf):
            y = ops.relu(x, self.slope)
        elif self.clamps:
            y = ops.clamp(x, 0.0, self.most)
        else:
            y = ops.clamp(ops.relu(x, self.slope), self.least, self.most)
        self._remember(y)
        if self.slope < 0:  # else y has the sign of x, and the top keeps it alive anyway
            self.saved.signed = x
        top[0].data = y

    @property
    def clamps(self) -> bool:
        """Return whether the layer only limits x to 0 and to its largest value."""
        return self.slope == 0 and self.least <= 0 and self.most < inf

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops, dy, y = self.ops, top[0].diff, self.saved.y
        if (self.least, self.most) == (-inf, inf):
            bottom[0].diff = ops.relu_backward(dy, self.saved.signed, self.slope)
        elif self.clamps:
            bottom[0].diff = ops.clamp_backward(dy, y, 0.0, self.most)
        else:
            dy = ops.clamp_backward(dy, y, self.least, self.most)
            bottom[0].diff = ops.relu_backward(dy, self.saved.signed, self.slope)

    def Deconv(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], guided: bool) -> None:
        """Compute dx = max(dy, 0), if guided only where x is positive. A negative slope has no effect."""
        if propagate_down[0]:
            dy = self.ops.at_least(top[0].diff, 0)
            bottom[0].diff = self.ops.relu_backward(dy, self.saved.signed, 0.0) if guided else dy
