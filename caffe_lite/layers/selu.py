"""SeLU, SeLu: the scaled exponential linear unit."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .elu import ELULayer


@register_layer("SeLU")
class SeLULayer(ELULayer):
    """y = lambda * x where x > 0, else lambda * alpha * (e^x - 1).

    With these constants, the layers of a deep net keep mean 0 and variance 1.
    Bottom and top: any shape. Reads ``selu_param``: lambda (1.050701), alpha (1.6732632).
    Source: Klambauer et al. 2017; selu_layer.cpp of Synopsys' Caffe.
    """

    formula = r"y = \lambda \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & \text{else} \end{cases}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.selu_param
        self.alpha, self.scale = p.alpha, getattr(p, "lambda")


@register_layer("SeLu")
class SeLuLayer(SeLULayer):
    """SeLU, see SeLULayer, under the name that it has in soeaver's nets.

    Source: soeaver/caffe-model.
    """
