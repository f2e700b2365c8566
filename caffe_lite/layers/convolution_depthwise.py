"""ConvolutionDepthwise: a convolution that filters every channel by itself, whatever num_output and group say."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..ops.windows import windows_text
from ..proto.caffe_pb2 import ConvolutionParameter, LayerParameter
from .convolution import ConvolutionLayer


@register_layer("ConvolutionDepthwise")
class ConvolutionDepthwiseLayer(ConvolutionLayer):
    """y[c] = b[c] + (W[c] correlated with x[c]), for images.

    Bottom: (N, C, H, W). Top: (N, C, *out), with out as in Convolution.
    Blobs: W (C, 1, kernel_h, kernel_w); b (C).
    Reads ``convolution_param``: kernel_h and kernel_w, or kernel_size; stride_h and stride_w, or stride (1); pad_h and
    pad_w, or pad (0); dilation (1), bias_term (true), weight_filler, bias_filler. A pair takes precedence over the
    single field. num_output, group and axis have no effect: there are as many outputs and groups as channels.
    Source: OpenVINO's and mini-caffe's conv_dw_layer.cpp.
    Differences: the original ignores one of a pair without the other, and values after the second; here both are
    errors. OpenVINO's code reads beyond the end if no stride is given.
    """

    bottoms = (1, 1)
    tops = (1, 1)
    formula = r"y_c(i) = b_c + \sum_k W_c(k) \, x_c(\text{stride} \cdot i + \text{dilation} \cdot k - \text{pad})"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return windows_text(_without_ignored(param.convolution_param))

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].num_axes != 4:
            self.error(f"the bottom has {bottom[0].num_axes} axes", "give it images: (N, C, H, W)")
        super().Setup(bottom, top)

    def read(self) -> ConvolutionParameter:
        p = self.param.convolution_param
        for one, other in _PAIRS.values():
            if p.HasField(one) != p.HasField(other):
                given, missing = (one, other) if p.HasField(one) else (other, one)
                self.error(f"{given} is given without {missing}", "give both")
        return _without_ignored(p)

    def outputs_and_groups(self) -> tuple[int, int]:
        return self.channels, self.channels

    def outputs_and_inputs(self) -> tuple[int, int]:
        return self.channels, 1


_PAIRS = {
    "kernel_size": ("kernel_h", "kernel_w"),
    "stride": ("stride_h", "stride_w"),
    "pad": ("pad_h", "pad_w"),
}


def _without_ignored(param: ConvolutionParameter) -> ConvolutionParameter:
    """Return a copy without the fields that have no effect."""
    p = ConvolutionParameter()
    p.CopyFrom(param)
    ignored = ["num_output", "group", "axis", *(field for field, (one, _) in _PAIRS.items() if p.HasField(one))]
    for field in ignored:
        p.ClearField(field)
    return p
