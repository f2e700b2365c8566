"""Normalize: each vector divided by its length."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import FillerParameter
from .common.fillers import fill


@register_layer("Normalize")
class NormalizeLayer(Layer):
    """y = scale x / |x|, with the length |x| taken over the channels at each place, or over a whole sample.

    SSD's: |x| = sqrt(sum(x^2) + eps) over the whole sample, or over the channels where across_spatial is false, and a
    learned scale. happynear's: |x| = sqrt(sum(x^2) + 1e-6) over the channels, or sum(|x|) + 1e-6 for L1, without a
    scale; for samples of one axis this is also yjxiong's, which reads no parameters.
    Bottom and top: (N, C, ...). Blobs (SSD): the scale, () or (C). A second top (happynear) is |x|, (N, 1, ...).
    Meanings: with ``norm_param`` it is SSD's, without it happynear's (also yjxiong's).
    Reads ``norm_param``: across_spatial (true), channel_shared (true: one scale for all channels), scale_filler
    (constant 1), eps (1e-10), add_eps_before_sqrt (true; false: |x| = sqrt(sum(x^2)) + eps).
    Reads ``normalize_param``: normalize_type ("L2"; or "L1"), bp_norm (false; true: the second top passes its gradient
    on), fix_gradient (false; true: the bottom's gradient is not divided by |x|, as on happynear's GPUs).
    Source: Liu, Rabinovich and Berg 2015 (ParseNet); normalize_layer.cpp of SSD's Caffe and of happynear's.
    Difference: the gradient of the scale is correct where the scale is 0 (the original divides by it).
    """

    kind = Kind.NORMALISATION
    formula = r"y_c = s_c \frac{x_c}{\lVert x \rVert}"
    tops = (1, 2)
    reads_fork_fields = ("SoftmaxParameter.normalize_type",)  # one of happynear's nets gives it here, without effect

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.check_channels(shape)
        self.l1 = False
        if self.param.HasField("norm_param"):
            self.meaning = "SSD's Normalize, because norm_param is given"
            p = self.param.norm_param
            if len(top) > 1:
                self.error("norm_param is given, and SSD's layer has no second top", "remove that top, or norm_param")
            if self.param.HasField("normalize_param"):
                self.error("it has both norm_param and normalize_param", "keep SSD's or happynear's")
            self.eps, self.across, self.eps_inside = p.eps, p.across_spatial, p.add_eps_before_sqrt
            self.blobs = [Blob(self.ops, () if p.channel_shared else shape[1:2])]
            fill(self.blobs[0], p.scale_filler if p.HasField("scale_filler") else FillerParameter(value=1), self.rng)
        else:
            self.meaning = "happynear's Normalize, because norm_param is not given"
            kind = self.param.normalize_param.normalize_type
            if kind not in ("L1", "L2"):
                self.error(f"normalize_type is {kind!r}", 'use "L1" or "L2"')
            self.eps, self.across, self.eps_inside, self.l1 = 1e-6, False, True, kind == "L1"

    def check_channels(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", f"{self.type} needs 2 or more: (N, C, ...)")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if self.blobs and self.blobs[0].shape and shape[1:2] != self.blobs[0].shape:
            self.error(
                f"the channels of the bottom's shape {shape} do not agree with the {self.blobs[0].count} scales",
                "keep the channels that the net was made with, or make the net anew",
            )
        self.axes = tuple(range(1, len(shape))) if self.across else (1,)
        top[0].Reshape(shape)
        if len(top) > 1:
            top[1].Reshape((shape[0], 1, *shape[2:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        if self.l1:
            self.saved.slope = ops.sign(x)
            norm = ops.sum(ops.abs(x), self.axes, keepdims=True) + self.eps
        elif self.eps_inside:
            norm = ops.sqrt(ops.sum(x * x, self.axes, keepdims=True) + self.eps)
        else:
            root = ops.sqrt(ops.sum(x * x, self.axes, keepdims=True))
            self.saved.slope = x / ops.at_least(root, 1e-37)
            norm = root + self.eps
        self.saved.norm, self.saved.unit = norm, x / norm
        top[0].data = self.saved.unit * self._scale(x.ndim) if self.blobs else self.saved.unit
        if len(top) > 1:
            top[1].data = norm

    def _scale(self, num_axes: int) -> object:
        scale = self.blobs[0].data
        return self.ops.along_channels(scale, num_axes) if scale.ndim else scale

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = bottom[0]
        if self.l1:
            norm = g.Add(g.reduce("ReduceSum", g.Abs(x), self.axes), self.eps)
        else:
            squares = g.reduce("ReduceSum", g.Mul(x, x), self.axes)
            norm = g.Sqrt(g.Add(squares, self.eps)) if self.eps_inside else g.Add(g.Sqrt(squares), self.eps)
        y = g.Div(x, norm)
        for scale in self.blobs:
            y = g.Mul(y, g.along(scale, x.ndim) if scale.shape else scale)
        return [y, norm][: len(top)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, dy, unit = self.ops, top[0].diff, self.saved.unit
        if self.blobs and self.param_propagate_down[0]:
            axes = (0, *range(2, dy.ndim)) if self.blobs[0].shape else None
            self.blobs[0].add_diff(ops.sum(dy * unit, axes))
        if not propagate_down[0]:
            return
        p = self.param.normalize_param
        slope = unit if self.eps_inside and not self.l1 else self.saved.slope  # how |x| changes with x
        g = dy * self._scale(dy.ndim) if self.blobs else dy
        dx = g - slope * ops.sum(g * unit, self.axes, keepdims=True)
        if not p.fix_gradient:
            dx = dx / self.saved.norm
        bottom[0].diff = dx + slope * top[1].diff if len(top) > 1 and p.bp_norm else dx
