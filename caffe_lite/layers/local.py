"""Local: a convolution with filters of its own at every place."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.windows import Windows
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .im2col import columns_onnx


@register_layer("Local")
class LocalLayer(Layer):
    """y[m] = b[m] + sum over c of (W[m, c] correlated with x[c]), where W and b are others at every place i.

    Bottom: (N, C, H, W). Top: (N, num_output, *out) with out = floor((image + 2 pad - kernel) / stride) + 1.
    Blobs: W (num_output, 1, C kernel^2, places); b (1, 1, num_output, places).
    Reads ``local_param``: num_output, kernel_size, stride (1), pad (0), bias_term (true), weight_filler, bias_filler.
    Source: Taigman et al. 2014; local_layer.cpp of happynear's Caffe.
    """

    kind = Kind.CONVOLUTION
    formula = r"y_m(i) = b_m(i) + \sum_c \sum_k W_{m,c,i}(k) \, x_c(\text{stride} \cdot i + k - \text{pad})"
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.local_param
        return f"{p.kernel_size} x {p.kernel_size} → {p.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.local_param, bottom[0].shape
        for field in ("num_output", "kernel_size", "stride"):
            if getattr(p, field) < 1:
                self.error(f"{field} is {getattr(p, field)}", f"give local_param a {field} of at least 1")
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "Local needs 4: (N, C, H, W)")
        self.made_for = shape[1:]
        twice = (p.kernel_size,) * 2, (p.stride,) * 2, (p.pad,) * 2, (1, 1)
        self.windows = Windows(*twice)
        self.out = self.windows.convolved(shape[2:])
        self.taps, self.places = shape[1] * p.kernel_size**2, self.out[0] * self.out[1]
        self.blobs = [Blob(self.ops, (p.num_output, 1, self.taps, self.places))]
        fill(self.blobs[0], p.weight_filler, self.rng)
        if p.bias_term:
            self.blobs.append(Blob(self.ops, (1, 1, p.num_output, self.places)))
            fill(self.blobs[1], p.bias_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if shape[1:] != self.made_for:
            self.error(
                f"the bottom's shape {shape} does not agree with the weights, made for (N, C, H, W) = "
                f"(N, {', '.join(map(str, self.made_for))})",
                "keep the size that the net was made with, or make the net anew",
            )
        top[0].Reshape((shape[0], self.param.local_param.num_output, *self.out))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        return bottom[0].shape[0] * self.blobs[0].count

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        columns = ops.im2col(bottom[0].data, *self._geometry())
        columns = ops.reshape(columns, (bottom[0].shape[0], self.taps, self.places))
        self.saved.columns = ops.transpose(columns, (2, 0, 1))
        self.saved.weight = self._weight()
        y = self._by_place_last(self.saved.columns @ self.saved.weight)
        if len(self.blobs) > 1:
            y = y + ops.reshape(self.blobs[1].data, (1, *y.shape[1:]))
        top[0].data = ops.reshape(y, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        columns = columns_onnx(g, bottom[0], self.made_for[0], self.windows)
        columns = g.reshape(columns, (bottom[0].sizes[0], self.taps, self.places))
        by_place = g.MatMul(g.Transpose(columns, perm=[2, 0, 1]), self.ops.host_view(self._weight()))
        y = g.Transpose(by_place, perm=[1, 2, 0])
        if len(self.blobs) > 1:
            y = g.Add(y, self.ops.host_view(self.blobs[1].data)[0])
        return [g.reshape(y, top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, shape = self.ops, bottom[0].shape
        need_weight, need_bias = (*self.param_propagate_down, False)[:2]
        dy = ops.reshape(top[0].diff, (shape[0], top[0].shape[1], self.places))
        if need_bias:
            self.blobs[1].add_diff(ops.reshape(ops.sum(dy, 0), self.blobs[1].shape))
        by_place = ops.transpose(dy, (2, 0, 1))
        if need_weight:
            dw = ops.transpose(self.saved.columns.swapaxes(1, 2) @ by_place, (2, 1, 0))
            self.blobs[0].add_diff(ops.reshape(dw, self.blobs[0].shape))
        if propagate_down[0]:
            columns = self._by_place_last(by_place @ self.saved.weight.swapaxes(1, 2))
            columns = ops.reshape(columns, (shape[0], self.taps, *self.out))
            bottom[0].diff = ops.col2im(columns, shape[2:], *self._geometry())

    def _geometry(self) -> tuple[tuple[int, ...], ...]:
        w = self.windows
        return w.kernel, w.stride, w.pad, w.dilation

    def _weight(self) -> Array:
        """Return the weights as a matrix (taps, num_output) for each place."""
        weight = self.ops.reshape(self.blobs[0].data, (self.blobs[0].shape[0], self.taps, self.places))
        return self.ops.transpose(weight, (2, 1, 0))

    def _by_place_last(self, x: Array) -> Array:
        return self.ops.transpose(x, (1, 2, 0))
