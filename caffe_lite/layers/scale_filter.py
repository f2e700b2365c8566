"""ScaleFilter: in training, scales each channel of each sample at random."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2


@register_layer("ScaleFilter")
class ScaleFilterLayer(Layer):
    """In TRAIN y = s x, with s drawn from [min_scale, max_scale) for each channel of each sample; in TEST y = x.

    Bottom and top: (N, C, ...). Reads ``scale_filter_param``: min_scale, above 0, and max_scale, at least min_scale.
    Source: scale_filter_layer.cpp of OpenVINO's training toolbox, which checks the scales in debug builds only.
    """

    kind = Kind.NEURON
    formula = r"y_{n,c} = s_{n,c} x_{n,c}, \quad s_{n,c} \sim U(\text{min}, \text{max})"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.scale_filter_param
        if not 0 < p.min_scale <= p.max_scale:
            self.error(
                f"min_scale is {p.min_scale:g}, max_scale {p.max_scale:g}",
                "give scale_filter_param a min_scale above 0 and a max_scale that is not below it",
            )
        self.scales = self.phase == caffe_pb2.TRAIN

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "it needs 2 or more: (N, C, ...)")
        self.drawn = (*shape[:2], *[1] * (len(shape) - 2))
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if self.scales:
            p = self.param.scale_filter_param
            self.saved.scale = self.ops.drawn(lambda: self.rng.uniform(p.min_scale, p.max_scale, self.drawn))
            x = x * self.saved.scale
        top[0].data = x

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = top[0].diff * self.saved.scale if self.scales else top[0].diff
