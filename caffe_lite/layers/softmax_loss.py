"""SoftmaxWithLoss: softmax and the cross entropy with class labels in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..logs.log import logger
from ..ops.array import Array
from .common.class_weights import AdaptiveWeights
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
    With weight_by_label_freqs (false), of SegNet's Caffe, each label's loss is multiplied by the weight of its class in
    class_weighting, which has one for each class; Z stays as it is.
    With label_smoothing s (0), of Intel's Caffe, the gradient is that of the cross entropy with 1 - s for the label and
    s / C for each other class, while the loss stays as it is (NVIDIA's GPUs do nearly the same).
    With max_entropy_weight w (-1: none), of OpenVINO's toolbox, each label's loss gets w sum_k p(k) ln p(k); with
    adaptive_weighting (false), it is multiplied by the weight of its class, see AdaptiveWeights: gamma (0.9), scale
    (1), min_weight and max_weight (none). With either, a label whose loss is not above 0 does not count.
    Source: the original's softmax_loss_layer.cpp, and those of cascade-rcnn (the third top), R-FCN's Caffe (PRE_FIXED),
    Intel's and OpenVINO's. As in the original, a label is truncated to a whole number.
    Differences: a label that is not a class is an error (the original reads memory beyond the scores); further tops
    need no loss_weight; gradients that reach p and the losses of labels count (the original drops them); with axis 0,
    the first axes need not agree.
    """

    formula = r"L = -\frac{1}{Z} \sum_i \ln p_i(y_i), \quad p_i(k) = \frac{e^{x_i(k)}}{\sum_l e^{x_i(l)}}"
    tops = (1, 3)
    reads_fork_fields = tuple(
        f"LossParameter.{field}"
        for field in (
            *("weight_by_label_freqs", "class_weighting"),
            *("label_smoothing", "max_entropy_weight", "adaptive_weighting"),
            *("gamma", "scale", "min_weight", "max_weight"),
        )
    )

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.loss_param
        self.ignore = ignored_label(p)
        self.normalization = normalization(p)
        self.smoothing = p.label_smoothing
        if not 0 <= self.smoothing < 1:
            self.error(f"label_smoothing is {self.smoothing:g}", "use at least 0 and less than 1")
        self.entropy_weight = max(0.0, p.max_entropy_weight)
        axis = self.axis(self.param.softmax_param.axis, bottom[0].num_axes)
        self.class_weights: AdaptiveWeights | None = None
        if p.adaptive_weighting:
            self.class_weights = AdaptiveWeights(self, bottom[0].shape[axis])
            self.carried = [self.class_weights.frequencies]
        self.fixed_weights: Array | None = None
        if p.weight_by_label_freqs:
            if len(p.class_weighting) != bottom[0].shape[axis]:
                self.error(
                    f"class_weighting is given {len(p.class_weighting)} times, and there are {bottom[0].shape[axis]} "
                    "classes",
                    "give a weight for each class, or leave out weight_by_label_freqs",
                )
            self.fixed_weights = self.ops.asarray(np.array(p.class_weighting))
        elif p.class_weighting:
            logger.warning("%s: class_weighting has no effect without weight_by_label_freqs", self.name)

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
        if self.entropy_weight:
            logs = logs - self.entropy_weight * self._negative_entropy(self._logs())
        if self.entropy_weight or self.class_weights:
            costs = logs < 0
            self.saved.valid = costs if self.saved.valid is None else self.saved.valid & costs
        if self.saved.valid is not None:
            logs = ops.where(self.saved.valid, logs, ops.scalar(0))
        self.saved.weights = None
        if self.fixed_weights is not None:
            self.saved.weights = ops.take_rows(self.fixed_weights, self.saved.index)
        if self.class_weights:
            weights = self._weights(self.class_weights)
            self.saved.weights = weights if self.saved.weights is None else self.saved.weights * weights
        if self.saved.weights is not None:
            logs = logs * self.saved.weights
        self.saved.normalizer = normalizer(self, self.normalization, self.samples, labels.count, self.saved.valid)
        # Subtracted from 0.0, so that a perfect batch costs 0 instead of -0.
        top[0].data = ops.scalar((0.0 - ops.sum(logs)) / self.saved.normalizer)
        if len(top) > 1:
            top[1].data = self.saved.prob
        if len(top) > 2:
            top[2].data = ops.reshape(0.0 - logs, labels.shape)

    def _logs(self) -> Array:
        return self.ops.log(self.ops.at_least(self.saved.prob, SMALLEST))

    def _negative_entropy(self, logs: Array) -> Array:
        return self.ops.sum(self.saved.prob * logs, self.class_axis, keepdims=True)

    def _weights(self, class_weights: AdaptiveWeights) -> Array:
        """Return the weight of each label."""
        ops, axis, index = self.ops, self.class_axis, self.saved.index
        chosen = ops.one_hot(index, self.saved.prob.shape[axis], axis) * ops.astype(self.saved.valid)
        others = tuple(i for i in range(chosen.ndim) if i != axis)
        return ops.take_rows(class_weights.updated(ops.sum(chosen, others)), index)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if not propagate_down[0]:
            return
        ops = self.ops
        scale = top[0].diff / self.saved.normalizer
        if len(top) > 2 and top[2].has_diff:
            scale = scale + ops.reshape(top[2].diff, self.saved.index.shape)
        if self.saved.weights is not None:
            scale = scale * self.saved.weights
        prob = self.saved.prob
        dx = ops.cross_entropy_backward(prob, self.saved.index, scale, self.class_axis)
        if self.smoothing:
            classes = prob.shape[self.class_axis]
            share = self.smoothing / max(1, classes)
            dx = (1 - self.smoothing - share) * dx + (share * scale) * (classes * prob - 1)
        if self.entropy_weight:
            logs = self._logs()
            dx = dx + (self.entropy_weight * scale) * prob * (logs - self._negative_entropy(logs))
        if self.saved.valid is not None:
            dx = ops.where(self.saved.valid, dx, ops.scalar(0))
        if len(top) > 1 and top[1].has_diff:
            dx = dx + ops.softmax_backward(top[1].diff, prob, self.class_axis)
        bottom[0].diff = dx
