"""GRN: each vector along the channels divided by its length."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .normalize import NormalizeLayer


@register_layer("GRN")
class GRNLayer(NormalizeLayer):
    """y = x / sqrt(sum(x^2) + bias), with the sum over the channels at each place.

    Bottom and top: (N, C, ...). Reads ``grn_param``: bias (1e-7), at least 0; dummy_backward (false; true: the gradient
    passes unchanged).
    Source: grn_layer.cpp of OpenVINO's training toolbox.
    """

    formula = r"y_c = \frac{x_c}{\sqrt{\sum_k x_k^2 + \text{bias}}}"
    tops = (1, 1)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_channels(bottom[0].shape)
        self.eps = self.param.grn_param.bias
        if self.eps < 0:
            self.error(f"bias is {self.eps:g}", "use 0 or more")
        self.across, self.eps_inside, self.l1 = False, True, False

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not self.param.grn_param.dummy_backward:
            super().Backward(top, propagate_down, bottom)
        elif propagate_down[0]:
            bottom[0].diff = top[0].diff
