"""Convolution: applies the same small filters at every place of an image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array, Gradients, Need
from ..ops.roles import Linear, Windows
from ..ops.windows import Ints, read_windows, windows_text
from ..proto.caffe_pb2 import ConvolutionParameter, LayerParameter
from .common.fillers import fill


class FilteringLayer(Layer):
    """The base class of Convolution and Deconvolution, which pass through the filters in opposite directions."""

    kind = Kind.CONVOLUTION
    bottoms: ClassVar[tuple[int, int | None]] = (1, None)
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    equal_bottoms_tops = True
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{windows_text(param.convolution_param)} → {param.convolution_param.num_output}"

    # Of the rectifier that works on the result, if there is one.
    slope: float | None = None

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.read()
        self.channel_axis = self.axis(p.axis, bottom[0].num_axes)
        self.num_axes = bottom[0].num_axes
        self.channels = bottom[0].shape[self.channel_axis]
        self.windows = read_windows(p, self.num_axes - self.channel_axis - 1)
        self.num_output, self.group = self.outputs_and_groups()
        if self.num_output < 1:
            self.error(f"num_output is {self.num_output}", "give convolution_param a num_output of at least 1")
        if not self.channels:
            self.error(
                f"the bottom's shape {bottom[0].shape} has no channels", "check what makes this bottom, or set axis"
            )
        if self.group < 1:
            self.error(f"group is {self.group}", "give at least 1, or leave it out")
        for what, count in (("the bottom's channels", self.channels), ("num_output", self.num_output)):
            if count % self.group:
                self.error(
                    f"{what} ({count}) cannot be shared out among {self.group} groups", f"use a divisor of {count}"
                )
        self.blobs = [Blob(self.ops, (*self.outputs_and_inputs(), *self.windows.kernel))]
        fill(self.blobs[0], p.weight_filler, self.rng)
        if p.bias_term:
            self.blobs.append(Blob(self.ops, (self.num_output,)))
            fill(self.blobs[1], p.bias_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != self.num_axes:
            self.error(f"the bottom now has {len(shape)} axes, the layer was made for {self.num_axes}")
        if shape[self.channel_axis] != self.channels:
            self.error(
                f"the bottom's shape {shape} has {shape[self.channel_axis]} channels, the weights have {self.channels}",
                "keep the channels that the net was made with, or make the net anew",
            )
        for other in bottom[1:]:
            if other.shape != shape:
                self.error(f"the bottoms' shapes {shape} and {other.shape} differ", "all bottoms need one shape")
        image = shape[self.channel_axis + 1 :]
        out = self.out(image)
        batch = shape[: self.channel_axis]
        self.x_shape = (prod(batch), self.channels, *image)
        self.y_shape = (prod(batch), self.num_output, *out)
        for blob in top:
            blob.Reshape((*batch, self.num_output, *out))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = [self.ops.reshape(blob.data, self.x_shape) for blob in bottom]
        self.saved.weight = self.blobs[0].data
        bias = self.blobs[1].data if len(self.blobs) > 1 else None
        self.saved.rectified = []
        for x, blob in zip(self.saved.x, top, strict=True):
            y = self.filtered(x, self.saved.weight, bias)
            if self.slope is not None:
                y = self.ops.relu(y, self.slope)
                self.saved.rectified.append(y)
            blob.data = self.ops.reshape(y, blob.shape)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        need_weight, need_bias = (*self.param_propagate_down, False)[:2]
        for i, x in enumerate(self.saved.x):
            dy = self.ops.reshape(top[i].diff, self.y_shape)
            if self.slope is not None:
                dy = self.ops.relu_backward(dy, self.saved.rectified[i], self.slope)
            dx, dw, db = self.gradients(dy, x, self.saved.weight, (propagate_down[i], need_weight, need_bias))
            if dx is not None:
                bottom[i].diff = self.ops.reshape(dx, bottom[i].shape)
            if dw is not None:
                self.blobs[0].add_diff(dw)
            if db is not None:
                self.blobs[1].add_diff(db)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        results = []
        weight, *bias = map(g.value, self.blobs)
        missing = () if self.windows.kernel else (1,)  # the operators need an image
        for x, wanted in zip(bottom, top, strict=True):
            images = g.reshape(x, (g.merged(x.sizes[: self.channel_axis]), *self.x_shape[1:], *missing))
            y = self.filtered_onnx(g, images, g.reshape(weight, (*weight.sizes, *missing)), *bias)
            if self.slope is not None:
                y = g.LeakyRelu(y, alpha=self.slope) if self.slope else g.Relu(y)
            results.append(y if self.channel_axis == 1 and not missing else g.reshape(y, wanted.sizes))
        return results

    def onnx_windows(self) -> dict[str, object]:
        """Return the attributes that Conv and ConvTranspose have in common."""
        windows = self.windows
        return {
            "kernel_shape": list(windows.kernel) or [1],
            "strides": list(windows.stride) or [1],
            "pads": [*windows.pad, *windows.pad] or [0, 0],
            "dilations": list(windows.dilation) or [1],
            "group": self.group,
        }

    def read(self) -> ConvolutionParameter:
        """Return the settings: axis, windows, bias_term and fillers."""
        return self.param.convolution_param

    def outputs_and_groups(self) -> tuple[int, int]:
        return self.param.convolution_param.num_output, self.param.convolution_param.group

    @property
    def geometry(self) -> tuple[Ints, Ints, Ints, int]:
        return self.windows.stride, self.windows.pad, self.windows.dilation, self.group

    def weight_and_bias(self) -> tuple[Array, Array | None]:
        return self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None

    def outputs_and_inputs(self) -> tuple[int, int]:
        """Return the sizes of the weights' first two axes."""
        raise NotImplementedError

    def out(self, image: Ints) -> tuple[int, ...]:
        """Return the spatial shape of the tops."""
        raise NotImplementedError

    def filtered(self, x: Array, weight: Array, bias: Array | None) -> Array:
        raise NotImplementedError

    def filtered_onnx(self, g: OnnxGraph, x: Value, *learned: Value) -> Value:
        """Write the filtering of x, (N, C, *image), with weights and biases."""
        raise NotImplementedError

    def gradients(self, dy: Array, x: Array, weight: Array, need: Need) -> Gradients[Array]:
        """Return the gradients of x, weight and bias; None where not needed."""
        raise NotImplementedError


@register_layer("Convolution")
class ConvolutionLayer(FilteringLayer):
    """y[m] = b[m] + sum over c of (W[m, c] correlated with x[c]), over any number of spatial axes.

    Bottoms: (N..., C, *image), all of one shape; ``axis`` names C, and the axes before it count the items of the batch.
    Tops: one per bottom, through the same filters, (N..., num_output, *out) with
    out = floor((image + 2 pad - dilation (kernel - 1) - 1) / stride) + 1.
    Blobs: W (num_output, C / group, *kernel); b (num_output).
    Reads ``convolution_param``: num_output; kernel_size (or kernel_h, kernel_w), stride (1) (or stride_h, stride_w),
    pad (0) (or pad_h, pad_w), dilation (1) (or, as in yjxiong's Caffe, dilation_h, dilation_w), group (1), bias_term
    (true), axis (1), weight_filler, bias_filler. ``engine`` and ``force_nd_im2col`` are accepted and have no effect.
    With relu (false) of Intel's Caffe, or fuse_type FUSED_CONV_RELU of naibaf7's, the tops are rectified as by ReLU,
    with the negative_slope (0) beside relu or in relu_param.
    Where the kernel exceeds the padded image by less than the stride, the original computes one output from zeros
    past the edge (its division rounds towards 0); here a kernel that does not fit is an error.
    Source: LeCun et al. 1989; the original's base_conv_layer.cpp.
    """

    formula = (
        r"y_m(i) = b_m + \sum_c \sum_k W_{m,c}(k) \, "
        r"x_c(\text{stride} \cdot i + \text{dilation} \cdot k - \text{pad})"
    )
    reads_fork_fields = tuple(
        f"ConvolutionParameter.{field}"
        for field in ("relu", "negative_slope", "fuse_type", "relu_param", "dilation_h", "dilation_w")
    )

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().Setup(bottom, top)
        p = self.param.convolution_param
        if p.fuse_type not in (ConvolutionParameter.UNFUSED, ConvolutionParameter.FUSED_CONV_RELU):
            name = ConvolutionParameter.FuseType.Name(p.fuse_type)
            self.error(f"fuse_type is {name}", "use FUSED_CONV_RELU, or layers of their own after this one")
        if p.relu:
            self.slope = p.negative_slope
        elif p.fuse_type == ConvolutionParameter.FUSED_CONV_RELU:
            self.slope = p.relu_param.negative_slope
        if self.slope is not None and self.slope < 0:
            self.error(f"negative_slope is {self.slope:g}", "use 0 or more, or a ReLU layer")

    def outputs_and_inputs(self) -> tuple[int, int]:
        return self.num_output, self.channels // self.group

    def out(self, image: Ints) -> tuple[int, ...]:
        return self.windows.convolved(image)

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each output pixel."""
        return sum(blob.count for blob in top) // self.num_output * self.blobs[0].count

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Linear | None:
        if self.slope is not None:
            return None
        return Linear(self.channel_axis == 1, self.weight_and_bias, lambda x: x, self.filtered, Windows(*self.geometry))

    def filtered(self, x: Array, weight: Array, bias: Array | None) -> Array:
        return self.ops.convolution(x, weight, bias, *self.geometry)

    def filtered_onnx(self, g: OnnxGraph, x: Value, *learned: Value) -> Value:
        y: Value = g.Conv(x, *learned, **self.onnx_windows())
        return y

    def gradients(self, dy: Array, x: Array, weight: Array, need: Need) -> Gradients[Array]:
        return self.ops.convolution_backward(dy, x, weight, *self.geometry, need)
