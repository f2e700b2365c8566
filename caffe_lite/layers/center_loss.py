"""CenterLoss: the distance of each vector from the learned centre of its class."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import register_layer
from .common.fillers import fill
from .common.indices import row_indices
from .common.loss import LossLayer


@register_layer("CenterLoss")
class CenterLossLayer(LossLayer):
    """loss = 1/(2N) sum_n |x_n - c_{y_n}|^2, with a centre c for each class.

    dloss/dx_n = (x_n - c_{y_n}) / N. The centres do not follow the gradient: the diff of c_k is sum(c_k - x_n) over the
    samples of class k, divided by one more than their number, whatever the loss weighs. With distance_type "L1", the
    loss is 1/N sum |x_n - c_{y_n}|, and signs of differences replace the differences in both.
    Bottoms: vectors (N, ...), flattened at ``axis``; labels, N of them. Top: (). Blobs: the centres (num_output, K).
    Reads ``center_loss_param``: num_output, the number of classes; axis (1); center_filler; distance_type ("L2").
    Source: Wen et al. 2016; caffe-face's center_loss_layer.cpp; distance_type: happynear's. Differences: a label that
    is no class is an error (the original reads and writes memory beyond the centres); no samples cost 0; happynear adds
    the diff of a centre once for each of its samples on CPUs, and an undefined part of that on GPUs, caffe-face once.
    """

    formula = r"L = \frac{1}{2N} \sum_n \lVert x_n - c_{y_n} \rVert^2"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.center_loss_param
        if p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give center_loss_param the number of classes")
        if p.distance_type not in ("L1", "L2"):
            self.error(f"distance_type is {p.distance_type!r}", 'use "L1" or "L2"')
        self.l1 = p.distance_type == "L1"
        self.first = self.axis(p.axis, bottom[0].num_axes)
        self.blobs = [Blob(self.ops, (p.num_output, prod(bottom[0].shape[self.first :])))]
        fill(self.blobs[0], p.center_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        samples, size = prod(shape[: self.first]), prod(shape[self.first :])
        classes, known = self.blobs[0].shape
        if size != known:
            self.error(
                f"the bottom's shape {shape} gives {size} values for each sample, the centres have {known}",
                "keep the size that the net was made with, or make the net anew",
            )
        if bottom[1].count != samples:
            self.error(
                f"the vectors {shape} need {samples} labels, and the labels {bottom[1].shape} are {bottom[1].count}",
                "give one label for each sample",
            )
        self.samples, self.classes, self.size = samples, classes, size
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        hint = "labels count from 0: correct them, or raise num_output"
        self.saved.label = row_indices(self, bottom[1], self.classes, "centres", hint)
        d = ops.reshape(bottom[0].data, (self.samples, self.size))
        d = d - ops.take_rows(self.blobs[0].data, self.saved.label)
        self.saved.pull = ops.sign(d) if self.l1 else d
        losses = ops.abs(d) if self.l1 else d * d * 0.5
        self.saved.divisor = self.sized_divisor(self.samples)
        top[0].data = ops.scalar(ops.sum(losses) / self.saved.divisor)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        ops, pull, label = self.ops, self.saved.pull, self.saved.label
        if self.param_propagate_down[0]:
            ones = ops.full((self.samples, 1), 1.0)
            numbers = (self.total(ops.sum_rows(ones, label, self.classes)) + 1.0) * self.fixed_divisor(1)
            self.blobs[0].add_diff(-ops.sum_rows(pull, label, self.classes) / numbers)
        if propagate_down[0]:
            dx = pull * (top[0].diff / self.saved.divisor)
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)
