"""LabelSpecificAdd: a margin for the score of each sample's own class."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import TEST
from .common.counting import CountingLayer
from .common.loss import class_labels


@register_layer("LabelSpecificAdd")
class LabelSpecificAddLayer(CountingLayer):
    """In TRAIN, y = x + b for the score x of a sample's own class if x > -b; other scores, and those in TEST, stay.

    The gradient passes as it is. b is bias with a minus, whichever sign it has. With bias_base, b changes with the
    number i of Forwards: b = bias_base + (1 + bias_gamma i)^bias_power - 1, at least bias_min and at most bias_max.
    Bottoms: scores (N, C); labels, N of them, of which -1 stands for no class. Tops: (N, C); optionally the b in force,
    (1), which is 0 in TEST.
    Reads ``label_specific_add_param``: bias (0), bias_base (0, if given), bias_gamma (0), bias_power (1), bias_min (0),
    bias_max (0), iteration (0), the first i. transform_test has no effect, as in the original.
    Source: Wang, Cheng, Liu and Liu 2018 (AM-Softmax); label_specific_add.cpp of happynear's Caffe and of OpenVINO's.
    Differences: happynear's adds a bias above 0, OpenVINO's subtracts it, and so does this layer; for the label -1,
    with which AnchorEmbeddingExtractor says that it has found nothing, the original reads and writes other memory; so
    it does for any other label that is no class, which is an error here.
    """

    kind = Kind.NEURON
    formula = r"y_{n,c} = x_{n,c} - m \, [\, c = l_n, \; x_{n,c} > m ]"
    bottoms = (2, 2)
    tops = (1, 2)
    not_differentiable = (1,)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.label_specific_add_param
        self.annealed = p.HasField("bias_base")
        if self.annealed:
            self.count_from(p.iteration)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = bottom
        samples = prod(scores.shape[:1])
        if labels.count != samples:
            self.error(
                f"the scores {scores.shape} need {samples} labels, and the labels {labels.shape} are {labels.count}",
                "give one label for each sample",
            )
        self.shape = (samples, prod(scores.shape[1:]))
        top[0].Reshape(scores.shape)
        if len(top) > 1:
            top[1].Reshape((1,))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        bias = ops.zeros((1,))
        if self.phase != TEST:
            bias = self._bias()
            index, has_class = class_labels(self, bottom[1], self.shape, 1, ignore=-1)
            own = ops.one_hot(index, self.shape[1], 1)
            if has_class is not None:
                own = own * ops.astype(has_class)
            rows = ops.reshape(x, self.shape)
            x = ops.reshape(rows + own * ops.where(rows > -bias, bias, 0.0), x.shape)
        top[0].data = x
        if len(top) > 1:
            top[1].data = bias

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0], g.constant(np.zeros(1))][: len(top)]

    def _bias(self) -> Array:
        ops, p = self.ops, self.param.label_specific_add_param
        if not self.annealed:
            return ops.full((1,), -abs(p.bias))
        bias = p.bias_base - 1.0 + (1.0 + p.bias_gamma * self.counted()) ** p.bias_power
        return ops.at_most(ops.at_least(bias, p.bias_min), p.bias_max)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.error("a gradient is asked for the labels, and there is none", "set propagate_down: false for them")
        if propagate_down[0]:
            bottom[0].diff = top[0].diff
