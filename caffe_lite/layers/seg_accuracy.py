"""SegAccuracy: the share of pixels that get their label, its mean over classes, and the mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from .common.loss import class_labels


@register_layer("SegAccuracy")
class SegAccuracyLayer(Layer):
    """Compares the class with the best score with the label, at each pixel; of equal scores the last class counts.

    Of class c, t_c pixels have the label, p_c the best score, and r_c both. The three values are the share of right
    pixels; the mean of r_c / t_c over the classes that have pixels; and the mean over all classes of the intersection
    over union, r_c / (t_c + p_c - r_c), which is 1 for a class that is neither there nor predicted.
    Bottoms: scores (N, C, H, W); labels (N, 1, H, W). Top: the three values, (1, 1, 1, 3). There is no gradient.
    Reads ``seg_accuracy_param``: ignore_label, any number of labels that do not count; reset (true): false counts the
    pixels of all batches since the net was made, and a snapshot keeps the counts. metric (PixelAccuracy) is not read,
    as in the original.
    Source: Chen et al., DeepLab, 2016; seg_accuracy_layer.cpp of PSPNet's Caffe and synopsys'.
    Differences: more than 16 million pixels are counted to seven digits (the original's counts are exact).
    """

    kind = Kind.LOSS
    formula = (
        r"y = \left( \frac{\sum_c r_c}{\sum_c t_c}, \; \frac{1}{C'} \sum_c \frac{r_c}{t_c}, \; "
        r"\frac{1}{C} \sum_c \frac{r_c}{t_c + p_c - r_c} \right)"
    )
    bottoms = (2, 2)
    not_differentiable = (0, 1)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.seg_accuracy_param
        self.ignore = list(p.ignore_label)
        self.carried = [] if p.reset else [Blob(self.ops, (3, 0))]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = bottom[0].shape, bottom[1].shape
        if len(scores) < 2:
            self.error(f"the scores have the shape {scores}", "give them as (N, C, H, W)")
        wanted = (scores[0], 1, *scores[2:])
        if labels != wanted:
            self.error(f"the scores have the shape {scores}, and the labels {labels}", f"give labels as {wanted}")
        if scores[1] < 1:
            self.error("there are no classes", "give the scores one channel or more")
        for blob in self.carried:
            blob.Reshape((3, scores[1]))
        top[0].Reshape((1, 1, 1, 3))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, (scores, labels) = self.ops, bottom
        classes = scores.shape[1]
        index, valid = class_labels(self, labels, scores.shape, 1, self.ignore)
        true = ops.one_hot(index, classes, 1)
        if valid is not None:
            true = true * ops.astype(valid)
        predicted = ops.one_hot(ops.largest(scores.data, 1, 1), classes, 1)
        counted = ops.sum(true, 1, keepdims=True)  # 1 where the label counts
        pixels = tuple(axis for axis in range(scores.num_axes) if axis != 1)
        counts = [ops.sum(each, pixels) for each in (true, predicted * counted, true * predicted)]
        for blob in self.carried:
            blob.data = blob.data + ops.concat([ops.reshape(each, (1, classes)) for each in counts], 0)
            counts = [blob.data[0], blob.data[1], blob.data[2]]
        there, found, right = counts
        some = ops.astype(there > 0)
        accuracy = ops.sum(right) / ops.at_least(ops.sum(there), 1.0)
        recall = ops.sum(right / ops.at_least(there, 1.0)) / ops.at_least(ops.sum(some), 1.0)
        union = there + found - right
        overlap = ops.where(union == 0, ops.full((classes,), 1.0), right / ops.at_least(union, 1.0))
        values = [accuracy, recall, ops.sum(overlap) / classes]
        top[0].data = ops.concat([ops.reshape(value, (1, 1, 1, 1)) for value in values], 3)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("accuracy has no gradient", "train with a loss such as SoftmaxWithLoss")

    def restore_state(self, state: Any) -> None:
        if any(np.shape(values) != blob.shape for blob, values in zip(self.carried, state, strict=False)):
            self.error("the snapshot is that of another net", "resume with the net it was made with")
        super().restore_state(state)
