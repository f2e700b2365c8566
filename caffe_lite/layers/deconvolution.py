"""Deconvolution: every input pixel stamps a small filter onto a larger image."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array, Gradients, Need
from ..ops.roles import Linear
from ..ops.windows import Ints
from .convolution import FilteringLayer


@register_layer("Deconvolution")
class DeconvolutionLayer(FilteringLayer):
    """y[m] = b[m] + the sum of W[c, m] placed at every pixel of x[c], times the pixel's value: Convolution's transpose.

    Bottoms: (N..., C, *image), all of one shape; ``axis`` names C, and the axes before it count the items of the batch.
    Tops: one per bottom, through the same filters, (N..., num_output, *out) with
    out = stride (image - 1) + dilation (kernel - 1) + 1 - 2 pad; ``pad`` is cut off each side.
    Blobs: W (C, num_output / group, *kernel); b (num_output).
    Reads ``convolution_param``, as Convolution does. weight_filler "bilinear" with num_output and group C, stride f,
    kernel_size 2 f - f % 2 and pad ceil((f - 1) / 2) enlarges images f times; lr_mult: 0 keeps it that way.
    Source: Zeiler et al. 2010; Long, Shelhamer and Darrell 2015; the original's deconv_layer.cpp.
    """

    formula = r"y_m(\text{stride} \cdot i + \text{dilation} \cdot k - \text{pad}) = b_m + \sum W_{c,m}(k) \, x_c(i)"

    def outputs_and_inputs(self) -> tuple[int, int]:
        return self.channels, self.num_output // self.group

    def out(self, image: Ints) -> tuple[int, ...]:
        return self.windows.deconvolved(image)

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each input pixel."""
        return sum(blob.count for blob in bottom) // self.channels * self.blobs[0].count

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Linear:
        return Linear(
            self.channel_axis == 1, self.weight_and_bias, lambda x: x, self.filtered, transposed_groups=self.group
        )

    def filtered(self, x: Array, weight: Array, bias: Array | None) -> Array:
        return self.ops.deconvolution(x, weight, bias, *self.geometry)

    def filtered_onnx(self, g: OnnxGraph, x: Value, *learned: Value) -> Value:
        y: Value = g.ConvTranspose(x, *learned, **self.onnx_windows())
        return y

    def gradients(self, dy: Array, x: Array, weight: Array, need: Need) -> Gradients[Array]:
        return self.ops.deconvolution_backward(dy, x, weight, *self.geometry, need)
