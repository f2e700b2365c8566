"""InfogainLoss: softmax and a cross entropy in which every pair of classes has its own weight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..data.binaryproto import read_binaryproto
from ..layer import register_layer
from ..ops.array import Array
from .common.loss import LossLayer, check_label_count, class_labels, ignored_label, normalization, normalizer
from .multinomial_logistic_loss import SMALLEST


@register_layer("InfogainLoss")
class InfogainLossLayer(LossLayer):
    """loss = -1/Z sum_i sum_k H(y_i, k) ln p_i(k), p = softmax(x), y the labels; with H = 1 it is SoftmaxWithLoss.

    dloss/dx_i(k) = (p_i(k) sum_l H(y_i, l) - H(y_i, k)) / Z.
    Bottoms: scores x (N, K, ...) with the classes along ``axis``; labels, one for each of the other positions, in the
    same order; optionally H, (1, 1, K, K), with a row for each label. Tops: the loss, (); optionally p, shaped like the
    scores. Reads ``infogain_loss_param``: source, a .binaryproto with H, if H is not a bottom; axis (1; may be
    negative).
    Reads ``loss_param``: ignore_label, normalization, pre_fixed_normalizer and normalize, all as SoftmaxWithLoss does.
    Source: the original's infogain_loss_layer.cpp. As in the original, a probability below 1e-20 counts as 1e-20, but
    the gradient ignores this limit. Differences: a label that is not a class is an error (the original reads memory
    beyond the scores); H may have the shape (K, K); a gradient that reaches p counts (the original drops it).
    """

    formula = r"L = -\frac{1}{Z} \sum_i \sum_k H(y_i, k) \ln p_i(k)"
    bottoms = (2, 3)
    tops = (1, 2)
    not_differentiable = (1, -1)
    matrix: Array | None = None  # from the source file

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._settle(bottom)
        if len(bottom) < 3:
            source = self.param.infogain_loss_param.source
            made_by = "array_to_blobproto(matrix).SerializeToString() makes"
            _, matrix = read_binaryproto(source, "source", "infogain_loss_param", self.where, made_by)
            self.matrix = self.ops.asarray(matrix)

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._settle(bottom)
        self.Reshape(bottom, top)

    def _settle(self, bottom: Sequence[Blob]) -> None:
        self.ignore = ignored_label(self.param.loss_param)
        self.normalization = normalization(self.param.loss_param)
        if len(bottom) < 3 and not self.param.infogain_loss_param.source:
            self.error("there is no infogain matrix", "give it as third bottom, or as source: in infogain_loss_param")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = bottom[:2]
        self.class_axis = self.axis(self.param.infogain_loss_param.axis, scores.num_axes)
        if self.class_axis > 0:
            self.check_first_axis(bottom)
        check_label_count(self, scores, labels, self.class_axis)
        if len(bottom) > 2:
            self._check_matrix(bottom[2].shape, scores)
        elif self.matrix is not None:
            self._check_matrix(tuple(self.matrix.shape), scores)
        self.samples = prod(scores.shape[: self.class_axis])
        top[0].Reshape(())
        if len(top) > 1:
            top[1].Reshape(scores.shape)

    def _check_matrix(self, shape: tuple[int, ...], scores: Blob) -> None:
        classes = scores.shape[self.class_axis]
        if shape[-2:] != (classes, classes) or prod(shape) != classes * classes:
            self.error(
                f"the infogain matrix has the shape {shape}, and the scores {scores.shape} have {classes} classes "
                f"along axis {self.class_axis}",
                f"give a matrix of shape {(1, 1, classes, classes)}, or set axis",
            )

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, axis, (scores, labels, *matrix) = self.ops, self.class_axis, bottom
        shape, last = scores.shape, scores.num_axes - 1
        index, self.saved.valid = class_labels(self, labels, shape, axis, self.ignore)
        square = matrix[0].data if matrix else self.matrix
        assert square is not None
        rows = ops.reshape(square, (shape[axis], shape[axis]))
        gains = ops.take_rows(rows, ops.reshape(index, (*shape[:axis], *shape[axis + 1 :])))
        self.saved.gains = ops.transpose(gains, (*range(axis), last, *range(axis, last)))
        self.saved.prob = ops.softmax(scores.data, axis)
        self.saved.normalizer = normalizer(self, self.normalization, self.samples, labels.count, self.saved.valid)
        costs = self.saved.gains * ops.log(ops.at_least(self.saved.prob, SMALLEST))
        if self.saved.valid is not None:
            costs = ops.where(self.saved.valid, costs, ops.scalar(0))
        # Subtracted from 0.0, so that a perfect batch costs 0 instead of -0.
        top[0].data = ops.scalar((0.0 - ops.sum(costs)) / self.saved.normalizer)
        if len(top) > 1:
            top[1].data = self.saved.prob

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if any(propagate_down[2:]):
            self.error(
                "a gradient is asked for the infogain matrix, and there is none",
                "give the layer propagate_down: three times, true, false and false",
            )
        if not propagate_down[0]:
            return
        ops = self.ops
        total = ops.sum(self.saved.gains, self.class_axis, keepdims=True)
        dx = (self.saved.prob * total - self.saved.gains) * (top[0].diff / self.saved.normalizer)
        if self.saved.valid is not None:
            dx = ops.where(self.saved.valid, dx, ops.scalar(0))
        if len(top) > 1 and top[1].has_diff:
            dx = dx + ops.softmax_backward(top[1].diff, self.saved.prob, self.class_axis)
        bottom[0].diff = dx
