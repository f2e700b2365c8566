"""ReLU6: the rectifier, limited to 6."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ..blobs import Blob
from ..layer import register_layer
from .relu import ReLULayer


@register_layer("ReLU6")
class ReLU6Layer(ReLULayer):
    """y = min(r, 6) with r = x where x > 0, else negative_slope * x. The gradient passes where y < 6.

    Bottom and top: any shape. Reads ``relu6_param``: negative_slope (0). ``engine`` is accepted and has no effect.
    Source: Sandler et al. 2018 (MobileNet V2); relu6_layer.cpp of chuanqi305's Caffe for SSD, which has no
    negative_slope, and of MobileNet-YOLO. Difference: in place with a negative_slope, the gradient of MobileNet-YOLO's
    is wrong where x exceeds 6 or the slope is negative (it sees only y); this layer keeps what it needs.
    """

    formula = r"y = \min(\max(x, 0), 6)"
    reads_fork_fields = ()

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.slope, self.least, self.most = self.param.relu6_param.negative_slope, -inf, 6.0
