"""Im2col: the windows of an image as columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.windows import Windows, read_windows


def columns_onnx(g: OnnxGraph, x: Value, channels: int, windows: Windows) -> Value:
    """Write the columns of x (N, C, *image): a convolution with filters that each take one element of the kernel."""
    size = prod(windows.kernel)
    filters = np.tile(np.eye(size), (channels, 1)).reshape(channels * size, 1, *windows.kernel)
    y: Value = g.Conv(
        x,
        filters,
        group=channels,
        kernel_shape=list(windows.kernel),
        strides=list(windows.stride),
        pads=[*windows.pad, *windows.pad],
        dilations=list(windows.dilation),
    )
    return y


@register_layer("Im2col")
class Im2colLayer(Layer):
    """y[c prod(kernel) + k] = the values of channel c under the k-th element of the kernel, at each of its places.

    Bottom: (N..., C, *image); ``axis`` names C, and the axes before it count the items of the batch.
    Top: (N..., C prod(kernel), *out) with out = floor((image + 2 pad - dilation (kernel - 1) - 1) / stride) + 1.
    Reads ``convolution_param``: kernel_size (or kernel_h, kernel_w), stride (1), pad (0), dilation (1), axis (1).
    ``force_nd_im2col`` is accepted and has no effect: there is one way for any number of spatial axes.
    Source: the original's im2col_layer.cpp.
    """

    kind = Kind.CONVOLUTION
    formula = r"y_{c,k}(i) = x_c(\text{stride} \cdot i + \text{dilation} \cdot k - \text{pad})"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, num_axes = self.param.convolution_param, bottom[0].num_axes
        self.channel_axis = self.axis(p.axis, num_axes)
        self.num_axes = num_axes
        if self.channel_axis == num_axes - 1:
            self.error(f"no spatial axis follows axis {p.axis} of the bottom {bottom[0].shape}", "use a smaller axis")
        self.windows = read_windows(p, num_axes - self.channel_axis - 1)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != self.num_axes:
            self.error(f"the bottom now has {len(shape)} axes, the layer was made for {self.num_axes}")
        batch, (channels, *image) = shape[: self.channel_axis], shape[self.channel_axis :]
        self.x_shape = (prod(batch), channels, *image)
        out = (channels * prod(self.windows.kernel), *self.windows.convolved(image))
        self.y_shape = (prod(batch), *out)
        top[0].Reshape((*batch, *out))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w = self.windows
        columns = self.ops.im2col(self.ops.reshape(bottom[0].data, self.x_shape), w.kernel, w.stride, w.pad, w.dilation)
        top[0].data = self.ops.reshape(columns, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = g.reshape(bottom[0], (g.merged(bottom[0].sizes[: self.channel_axis]), *self.x_shape[1:]))
        y = columns_onnx(g, x, self.x_shape[1], self.windows)
        return [y if self.channel_axis == 1 else g.reshape(y, top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            w = self.windows
            columns = self.ops.reshape(top[0].diff, self.y_shape)
            image = self.ops.col2im(columns, self.x_shape[2:], w.kernel, w.stride, w.pad, w.dilation)
            bottom[0].diff = self.ops.reshape(image, bottom[0].shape)
