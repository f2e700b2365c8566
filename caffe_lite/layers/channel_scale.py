"""ChannelScale: scales all channels of a place by one number."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import FillerParameter
from .common.fillers import fill
from .common.statistics import not_learned


@register_layer("ChannelScale")
class ChannelScaleLayer(Layer):
    """y = s x, with one s for each sample and place, the same for all channels.

    Between Normalize and a loss, for example, it multiplies unit vectors by their lengths s again.
    Bottoms: x (N, C, ...); s, with as many numbers as x has places. Top: the shape of x.
    With global_scale, y = g x, with a running mean g of |s|; a second top is g, (1), and the blob (1) holds it: -1 at
    first; in TRAIN, every Forward sets it to the mean of |s|, later to 0.99 g + 0.01 times that mean, limited to
    min_global_scale and max_global_scale. The gradient remains that of y = s x. g is not learned: its lr_mult is set
    to 0.
    Reads ``channel_scale_param``: do_forward (true; false: y = x), do_backward_feature (true; false: x gets the top's
    gradient as it is), do_backward_scale (true; false: s gets none), global_scale (false), max_global_scale (1000),
    min_global_scale (0). init_global_scale (1) has no effect, as in happynear's.
    Source: channel_scale_layer.cu of happynear's Caffe; on its CPU, g does not follow s.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{n,c,i} = s_{n,i} x_{n,c,i}"
    bottoms = (2, 2)
    tops = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.channel_scale_param
        if len(top) > 1 and not p.global_scale:
            self.error("it has a second top and no global_scale", "remove that top, or set global_scale: true")
        self.averages = p.global_scale and p.do_forward
        if p.global_scale:
            self.blobs = [Blob(self.ops, (1,))]
            fill(self.blobs[0], FillerParameter(value=-1), self.rng)
            not_learned(self, [0])

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "it needs 2 or more: (N, C, ...)")
        self.spread = (shape[0], 1, *shape[2:])
        if bottom[1].shape[:1] != shape[:1] or bottom[1].count != prod(self.spread):
            self.error(
                f"the second bottom {bottom[1].shape} does not have one number for each place of the first, {shape}",
                f"give it the shape {self.spread}",
            )
        top[0].Reshape(shape)
        if len(top) > 1:
            top[1].Reshape((1,))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        self.saved.x, self.saved.scale = x, self.ops.reshape(bottom[1].data, self.spread)
        if self.averages:
            if self.phase == caffe_pb2.TRAIN and (size := self.total_size(bottom[1].count)):
                self._follow(self.total(self.ops.sum(self.ops.abs(self.saved.scale))) / size)
            x = x * self.blobs[0].data
        elif self.param.channel_scale_param.do_forward:
            x = x * self.saved.scale
        top[0].data = x
        if len(top) > 1:
            top[1].data = self.ops.copy(self.blobs[0].data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, scale = bottom
        if self.averages:
            y = g.Mul(x, self.blobs[0])
        elif self.param.channel_scale_param.do_forward:
            y = g.Mul(x, g.reshape(scale, (x.sizes[0], 1, *x.sizes[2:])))
        else:
            y = x
        return [y, *map(g.value, self.blobs)][: len(top)]

    def _follow(self, mean: Array) -> None:
        p, running = self.param.channel_scale_param, self.blobs[0].data
        latest = self.ops.where(running < 0, self.ops.scalar(mean), 0.99 * running + 0.01 * mean)
        running[...] = self.ops.clamp(latest, p.min_global_scale, p.max_global_scale)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        p, dy = self.param.channel_scale_param, top[0].diff
        if propagate_down[0]:
            bottom[0].diff = dy * self.saved.scale if p.do_backward_feature else dy
        if propagate_down[1]:
            if p.do_backward_scale:
                places = self.ops.sum(dy * self.saved.x, 1, keepdims=True)
                bottom[1].diff = self.ops.reshape(places, bottom[1].shape)
            else:
                bottom[1].diff = self.ops.zeros(bottom[1].shape)
