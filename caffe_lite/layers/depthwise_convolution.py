"""DepthwiseConvolution: a Convolution that filters every channel by itself."""

from __future__ import annotations

from ..layer import register_layer
from .convolution import ConvolutionLayer


@register_layer("DepthwiseConvolution")
class DepthwiseConvolutionLayer(ConvolutionLayer):
    """y[c] = b[c] + (W[c] correlated with x[c]), see ConvolutionLayer: settings, blobs and results are the same.

    It is meant for group = num_output = C. Any other group is computed as Convolution computes it.
    Source: yonghenglh6's depthwise_conv_layer.cpp.
    Differences: with any other group, the kernel that the original runs on GPUs reads wrong weights.
    """

    formula = r"y_c(i) = b_c + \sum_k W_c(k) \, x_c(\text{stride} \cdot i + \text{dilation} \cdot k - \text{pad})"
