"""UpsampleDarknet: enlarges images by repeating pixels."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from .upsample import UpsampleLayer


@register_layer("UpsampleDarknet")
class UpsampleDarknetLayer(UpsampleLayer):
    """Each pixel becomes a square of stride x stride equal ones: Upsample without a mask.

    Bottom: (N, C, H, W). Top: (N, C, stride H, stride W). Reads ``upsample_darknet_param``: stride (1).
    Source: upsample_darknet_layer.cpp of Synopsys' Caffe.
    """

    formula = r"y_{hw} = x_{\lfloor h / s \rfloor \lfloor w / s \rfloor}"
    bottoms = (1, 1)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.out = None
        self.set_factor(self.param.upsample_darknet_param.stride)
