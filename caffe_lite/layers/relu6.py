"""ReLU6: the rectifier, limited to 6."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer


@register_layer("ReLU6")
class ReLU6Layer(Layer):
    """y = min(r, 6) with r = x where x > 0, else negative_slope * x. The gradient passes where y < 6.

    Bottom and top: any shape. Reads ``relu6_param``: negative_slope (0). ``engine`` is accepted and has no effect.
    Source: Sandler et al. 2018 (MobileNet V2); relu6_layer.cpp of chuanqi305's Caffe for SSD, which has no
    negative_slope, and of MobileNet-YOLO. Difference: in place with a negative_slope, the gradient of MobileNet-YOLO's
    is wrong where x exceeds 6 or the slope is negative (it sees only y); this layer keeps x.
    """

    kind = Kind.NEURON
    formula = r"y = \min(\max(x, 0), 6)"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.slope = self.param.relu6_param.negative_slope

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if self.slope:
            self.saved.x = x
            self.saved.y = self.ops.at_most(self.ops.relu(x, self.slope), 6.0)
        else:
            self.saved.y = self.ops.clamp(x, 0.0, 6.0)
        top[0].data = self.saved.y

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops, dy, y = self.ops, top[0].diff, self.saved.y
        if self.slope:
            bottom[0].diff = ops.where(y < 6, ops.relu_backward(dy, self.saved.x, self.slope), ops.scalar(0))
        else:
            bottom[0].diff = ops.clamp_backward(dy, y, 0.0, 6.0)
