"""ContinuationIndicator: says that every sequence begins with the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value


@register_layer("ContinuationIndicator")
class ContinuationIndicatorLayer(Layer):
    """y_t = 0 for the first step, else 1: the second bottom of LSTM and RNN for sequences of time_step steps.

    Top: (time_step, batch_size). Reads ``continuation_indicator_param``: time_step, batch_size.
    Source: warpctc-caffe's continuation_indicator_layer.cpp.
    """

    kind = Kind.DATA
    formula = r"y_{t,n} = [\, t > 0 ]"
    bottoms = (0, 0)
    is_constant = True

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.continuation_indicator_param
        if p.time_step < 1 or p.batch_size < 1:
            self.error(
                f"time_step is {p.time_step} and batch_size is {p.batch_size}",
                "give continuation_indicator_param 1 or more of each",
            )
        self.shape = (p.time_step, p.batch_size)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(self.shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        steps, streams = self.shape
        top[0].data = self.ops.concat([self.ops.zeros((1, streams)), self.ops.full((steps - 1, streams), 1.0)], 0)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        starts = np.ones(self.shape)
        starts[0] = 0
        return [g.constant(starts)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass
