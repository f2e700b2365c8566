"""SoftmaxWithLoss: softmax and the cross entropy with class labels in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import SMALLEST, LossLayer, check_label_count, class_labels, ignored_label, normalization, normalizer


@register_layer("SoftmaxWithLoss")
class SoftmaxWithLossLayer(LossLayer):
    """loss = 1/Z sum_i -ln p_i(y_i), with p = softmax(x) and y the labels; dloss/dx = (p - onehot(y)) / Z.

    Bottoms: scores x (N, C, ...) with the classes along ``axis``; labels, one for each of the other positions, in the
    same order: (N), (N, 1, H, W) and (N, H, W) all work. Tops: the loss, (); optionally p, shaped like the scores, and
    after it the loss of each label, not divided by Z, shaped like the labels.
    Reads ``softmax_param``: axis (1; may be negative). Reads ``loss_param``: ignore_label (none), a label that costs
    nothing and gets no gradient; normalization (VALID), which sets Z: the number of labels for FULL, of those not
    ignored for VALID, the product of the axes before ``axis`` for BATCH_SIZE, pre_fixed_normalizer (1) for PRE_FIXED,
    1 for NONE, and never less than 1; normalize, if normalization is not set: true stands for VALID, false for
    BATCH_SIZE.
    Source: the original's softmax_loss_layer.cpp; the third top: cascade-rcnn; PRE_FIXED: R-FCN's Caffe. As in the
    original, a label is truncated to a whole number.
    Differences: a label that is not a class is an error (the original reads memory beyond the scores); further tops
    need no loss_weight; gradients that reach p and the losses of labels count (the original drops them); with axis 0,
    the first axes need not agree.
    """

    formula = r"L = -\frac{1}{Z} \sum_i \ln p_i(y_i), \quad p_i(k) = \frac{e^{x_i(k)}}{\sum_l e^{x_i(l)}}"
    tops = (1, 3)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.ignore = ignored_label(self.param.loss_param)
        self.normalization = normalization(self.param.loss_param)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = bottom
        self.class_axis = self.axis(self.param.softmax_param.axis, scores.num_axes)
        if self.class_axis > 0:
            self.check_first_axis(bottom)
        check_label_count(self, scores, labels, self.class_axis)
        self.samples = prod(scores.shape[: self.class_axis])
        top[0].Reshape(())
        for blob, like in zip(top[1:], bottom, strict=False):
            blob.Reshape(like.shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, (scores, labels) = self.ops, bottom
        self.saved.index, self.saved.valid = class_labels(self, labels, scores.shape, self.class_axis, self.ignore)
        self.saved.prob = ops.softmax(scores.data, self.class_axis)
        logs = ops.log(ops.at_least(ops.pick(self.saved.prob, self.saved.index, self.class_axis), SMALLEST))
        if self.saved.valid is not None:
            logs = ops.where(self.saved.valid, logs, ops.scalar(0))
        self.saved.normalizer = normalizer(ops, self.normalization, self.samples, labels.count, self.saved.valid)
        # Subtracted from 0.0, so that a perfect batch costs 0 instead of -0.
        top[0].data = ops.scalar((0.0 - ops.sum(logs)) / self.saved.normalizer)
        if len(top) > 1:
            top[1].data = self.saved.prob
        if len(top) > 2:
            top[2].data = ops.reshape(0.0 - logs, labels.shape)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if not propagate_down[0]:
            return
        ops = self.ops
        scale = top[0].diff / self.saved.normalizer
        if len(top) > 2 and top[2].has_diff:
            scale = scale + ops.reshape(top[2].diff, self.saved.index.shape)
        dx = ops.cross_entropy_backward(self.saved.prob, self.saved.index, scale, self.class_axis)
        if self.saved.valid is not None:
            dx = ops.where(self.saved.valid, dx, ops.scalar(0))
        if len(top) > 1 and top[1].has_diff:
            dx = dx + ops.softmax_backward(top[1].diff, self.saved.prob, self.class_axis)
        bottom[0].diff = dx
