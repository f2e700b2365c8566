"""Reorg: squares of pixels become channels, or channels become squares of pixels, in Darknet's order."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter


@register_layer("Reorg")
class ReorgLayer(Layer):
    """With reverse, y[c, h s + i, w s + j] = x[(i s + j) C/s^2 + c, h, w]: channels become squares of s x s pixels.

    Without, Darknet's order mixes channels and places: the values of the bottom, in their order in memory, are read as
    maps (C/s^2, H s, W s), whose squares become channels (C, H, W), and these are read as the top (C s^2, H/s, W/s).
    Nets learn with this order, so that it matters to their weights only.
    Bottom: (N, C, H, W), where s^2 divides C, and s divides H and W unless it is reversed. Top: (N, C s^2, H/s, W/s),
    or (N, C/s^2, H s, W s) with reverse.
    Reads ``reorg_param``: stride, s; reverse (false).
    Source: Redmon and Farhadi 2017 (YOLO9000); reorg_layer.cpp of intel's Caffe and of MobileNet-YOLO.
    Differences: there is a gradient (the original's is always 0, because it reads memory that nothing fills); sizes
    that do not divide are refused (the original reads and writes outside the blobs); the bottom may change its shape.
    synopsys' Caffe, which takes every stride for 2 and exchanges width and height, gives the same for stride 2 and
    square maps.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{c,\, hs+i,\, ws+j} = x_{(is+j) C/s^2 + c,\, h,\, w}"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{'*' if param.reorg_param.reverse else '/'}{param.reorg_param.stride}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.reorg_param.stride:
            self.error("there is no stride", "set stride: 2 in reorg_param, or another one")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, stride = bottom[0].shape, self.param.reorg_param.stride
        reverse = self.param.reorg_param.reverse
        if len(shape) != 4:
            self.error(f"the bottom has the shape {shape}", "give (N, C, H, W)")
        samples, channels, height, width = shape
        if channels % stride**2:
            self.error(f"{channels} channels are no multiple of {stride} x {stride}", "change them, or stride")
        if not reverse and (height % stride or width % stride):
            self.error(f"maps of {height} x {width} are no multiple of stride {stride}", "change their size, or stride")
        self.deep = shape
        self.wide = (samples, channels // stride**2, height * stride, width * stride)
        if reverse:
            top[0].Reshape(self.wide)
        else:
            top[0].Reshape((samples, channels * stride**2, height // stride, width // stride))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self._run(bottom[0].data, self.param.reorg_param.reverse, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, stride = bottom[0], self.param.reorg_param.stride
        if self.param.reorg_param.reverse:
            return [g.DepthToSpace(x, blocksize=stride, mode="DCR")]
        wide = g.reshape(x, (x.sizes[0], *self.wide[1:]))
        return [g.reshape(g.SpaceToDepth(wide, blocksize=stride), top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = self._run(top[0].diff, not self.param.reorg_param.reverse, bottom[0].shape)

    def _run(self, x: Array, widen: bool, shape: Sequence[int]) -> Array:
        """Make squares of pixels from channels, or channels from squares; return the values in this shape."""
        ops, stride = self.ops, self.param.reorg_param.stride
        samples, _, height, width = self.deep
        channels = self.wide[1]
        if widen:
            x = ops.reshape(x, (samples, stride, stride, channels, height, width))
            x = ops.transpose(x, (0, 3, 4, 1, 5, 2))
        else:
            x = ops.reshape(x, (samples, channels, height, stride, width, stride))
            x = ops.transpose(x, (0, 3, 5, 1, 2, 4))
        return ops.reshape(x, shape)
