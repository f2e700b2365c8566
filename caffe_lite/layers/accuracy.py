"""Accuracy: the share of labels that are among the k best scores."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from .common.loss import check_label_count, class_labels, ignored_label


@register_layer("Accuracy")
class AccuracyLayer(Layer):
    """The share of labels whose score is among the ``top_k`` best: at most top_k - 1 other scores reach it.

    A tie therefore counts against the label: where all scores are equal, top-1 accuracy is 0.
    Bottoms: scores (N, C, ...) with the classes along ``axis``; labels, one for each of the other positions, in the
    same order. Tops: the accuracy, (); optionally the accuracy of each class, (C). It is 0 where no label counts.
    Reads ``accuracy_param``: top_k (1), axis (1; may be negative), ignore_label (none); min_is_better (false), of
    happynear's Caffe: the best scores are the smallest; denominator (0: the number of labels that count), of Lisa
    Anne Hendricks' Caffe: what the right ones are divided by.
    Source: the original's accuracy_layer.cpp. Differences: a label that is not a class is an error (the original reads
    memory beyond the scores), and so is top_k 0; a label whose score is NaN counts as wrong (the original counts it as
    right, so that a net of NaNs scores 1).
    """

    kind = Kind.LOSS
    formula = r"y = \frac{1}{n} \#\{ i : x_i(y_i) \text{ is among the } k \text{ largest} \}"
    bottoms = (2, 2)
    tops = (1, 2)
    not_differentiable = (0, 1)
    reads_fork_fields = ("AccuracyParameter.min_is_better", "AccuracyParameter.denominator")

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.denominator = self.param.accuracy_param.denominator
        if self.denominator < 0:
            self.error(f"denominator is {self.denominator:g}", "use more than 0, or 0 for the number of labels")
        self.top_k = self.param.accuracy_param.top_k
        self.ignore = ignored_label(self.param.accuracy_param)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = bottom
        self.class_axis = self.axis(self.param.accuracy_param.axis, scores.num_axes)
        check_label_count(self, scores, labels, self.class_axis)
        self.classes = scores.shape[self.class_axis]
        if not 1 <= self.top_k <= self.classes:
            self.error(
                f"top_k is {self.top_k}, and the scores {scores.shape} have {self.classes} classes",
                f"use 1 to {self.classes}",
            )
        top[0].Reshape(())
        if len(top) > 1:
            top[1].Reshape((self.classes,))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, (scores, labels), axis = self.ops, bottom, self.class_axis
        x = scores.data
        index, valid = class_labels(self, labels, scores.shape, axis, self.ignore)
        own = ops.pick(x, index, axis)
        reaches = x <= own if self.param.accuracy_param.min_is_better else x >= own
        reached_by = ops.sum(ops.astype(reaches), axis, keepdims=True)
        # A score reaches itself, unless it is NaN.
        right = (reached_by >= 1) & (reached_by <= self.top_k)
        if valid is not None:
            right = right & valid
        right = ops.astype(right)
        counted = max(1, labels.count) if valid is None else ops.at_least(ops.sum(ops.astype(valid)), 1.0)
        divisor = self.denominator or counted
        top[0].data = ops.scalar(ops.sum(right) / divisor)
        if len(top) > 1:
            per_class = ops.one_hot(index, self.classes, axis)
            others = tuple(i for i in range(scores.num_axes) if i != axis)
            seen = per_class if valid is None else per_class * ops.astype(valid)
            top[1].data = ops.sum(per_class * right, others) / ops.at_least(ops.sum(seen, others), 1.0)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("accuracy has no gradient", "train with a loss such as SoftmaxWithLoss")
