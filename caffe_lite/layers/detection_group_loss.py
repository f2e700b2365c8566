"""DetectionGroupLoss: the losses of a region proposal network, over anchors that are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from .common.anchor_maps import NONE, Truth, check_classes, check_maps
from .common.box_regression import Anchors, Bounds, BoxCode
from .common.loss import SMALLEST, LossLayer, ignored_label

_MINING = ("random", "bootstrap", "mixture")
_RANKING = ("conf_loss", "conf_prob")
_BOX_LOSSES = ("Smooth_L1", "Euclidean_L2")


@register_layer("DetectionGroupLoss")
class DetectionGroupLossLayer(LossLayer):
    """loss = mean_a -w_a ln p_a(y_a) + lambda mean_b f(t_b - t*_b), over sampled anchors a and the deltas b of objects.

    p is the softmax of an anchor's scores; f(d) = d^2/2 if |d| < 1, else |d| - 1/2, or d^2/2 for Euclidean_L2. t* are
    the shift of the anchor to its object, in anchors, and the logarithm of how much larger the object is (which counts
    as at least 2 pixels wide and high), less bbox_mean and divided by bbox_std. With both field_xyr and field_whr
    given, t is limited first, to a shift of 1/field_xyr and a factor of field_whr; its gradient is as if it were not.
    Anchors with a label above 0 are positive; those of label 0 that overlap an object by less than bg_threshold are
    negative. In each image, with batch_size -1, all positives count and bg_multiple times as many negatives, at least
    min_num_neg; else batch_size anchors, of them at most batch_size/(1 + bg_multiple) positive. If there are more, they
    are drawn at random; of the negatives, "bootstrap" takes those with the highest costs, and "mixture" half of each.
    w is 1 or, with pos_neg_weighted, makes the weights of positives and negatives 1 to bg_multiple.
    Bottoms: scores (N G, K, H, W) and deltas (N G, 4, H, W), where the G anchors of an image follow each other along
    the first axis; truth (N G, 6, H, W), as DetectionData delivers it: label, centre x, y, width, height of the object,
    overlap. Top: (1, 1, 1, 2), the loss and the part of it that is lambda times the loss of boxes. As in the original,
    a net's loss counts both numbers, and the gradient is that of the first.
    Reads ``detection_group_loss_param``: cls_num, K; lambda (1); field_w and field_h, the sizes of the anchors; stride,
    the pixels from one to the next; field_whr, field_xyr; bg_threshold (0.5), bg_multiple (4), neg_mining_type
    ("random"), neg_ranking_type ("conf_loss"; or "conf_prob": both rank alike), min_num_neg (5), objectness (false;
    true counts every class as 1), batch_size (-1), pos_neg_weighted (false), bbox_loss_type ("Smooth_L1"). Reads
    ``loss_param``: ignore_label (none), a label that costs nothing. Reads ``bbox_reg_param``: bbox_mean and bbox_std,
    four of each, or none for 0 and 1.
    A net with this layer cannot be compiled, because anchors are chosen on the host.
    Source: Cai and Vasconcelos 2018; detection_group_loss_layer.cpp of Cascade R-CNN's Caffe. Difference: the bottom
    stays as it is where deltas are limited (theirs writes into it).
    """

    formula = r"L = \frac{1}{n} \sum_a -w_a \ln p_a(y_a) + \frac{\lambda}{m} \sum_b f(t_b - t^*_b)"
    bottoms = (3, 3)
    not_differentiable = (2,)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_group_loss_param
        self.anchors = Anchors.of(self, p)
        self.code = BoxCode.of(self)
        ignore = ignored_label(self.param.loss_param)
        self.ignore = NONE if ignore is None else ignore
        self.bounds = None
        if p.HasField("field_xyr") and p.HasField("field_whr"):
            self.bounds = self._normalized(Bounds.of(self, p.field_xyr, p.field_whr))
        for field, known in (
            ("neg_mining_type", _MINING),
            ("neg_ranking_type", _RANKING),
            ("bbox_loss_type", _BOX_LOSSES),
        ):
            if getattr(p, field) not in known:
                self.error(f"{field} is {getattr(p, field)!r}", f"use {' or '.join(known)}")
        if p.batch_size < -1 or not p.batch_size:
            self.error(f"batch_size is {p.batch_size}", "use 1 or more, or -1")

    def _normalized(self, bounds: Bounds) -> Bounds:
        """Return bounds of normalised deltas; x and y share theirs, and so do width and height."""
        (mean_x, mean_y, mean_w, mean_h), (x, y, w, h) = self.code
        mean = np.repeat([(mean_x + mean_y) / 2, (mean_w + mean_h) / 2], 2)
        std = np.repeat(np.sqrt([x * y, w * h]), 2)
        return Bounds((bounds.least - mean) / std, (bounds.most - mean) / std)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_group_loss_param
        check_maps(self, bottom, p.cls_num, p.objectness, self.anchors)
        top[0].Reshape((1, 1, 1, 2))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, p, saved = self.ops, self.param.detection_group_loss_param, self.saved
        if ops.tracer is not None:
            raise NotImplementedError("the anchors that count are chosen on the host")
        truth = Truth.of(ops.host_view(bottom[2].data))
        classes = np.minimum(truth.labels, 1) if p.objectness else truth.labels
        saved.prob = ops.softmax(bottom[0].data, 1)
        kept = self._sample(truth, ops.host_view(saved.prob)[:, 0])
        counts = kept & (classes != self.ignore)
        check_classes(self, classes, counts, p.cls_num)
        weights = self._weights(kept, truth.labels > 0) * counts / self.counted_divisor(int(counts.sum()))
        saved.index = ops.indices(ops.asarray(np.where(counts, classes, 0)[:, None]))
        saved.weights = ops.asarray(weights[:, None])
        logs = ops.log(ops.at_least(ops.pick(saved.prob, saved.index, 1), SMALLEST))
        score_loss = 0.0 - ops.sum(logs * saved.weights)

        objects = kept & (truth.labels != 0) & (truth.labels != self.ignore)
        saved.share = getattr(p, "lambda") / self.counted_divisor(4 * int(objects.sum()))
        difference = self._limited(bottom[1].data) - ops.asarray(self._targets(truth))
        difference = ops.where(ops.asarray(objects[:, None]) > 0, difference, ops.scalar(0))
        saved.slope = difference
        costs = difference * difference * 0.5
        if p.bbox_loss_type == "Smooth_L1":
            saved.slope = ops.at_least(ops.at_most(difference, 1.0), -1.0)
            costs = saved.slope * (difference - saved.slope * 0.5)
        box_loss = ops.sum(costs) * saved.share
        both = [ops.reshape(ops.scalar(loss), (1, 1, 1, 1)) for loss in (score_loss + box_loss, box_loss)]
        top[0].data = ops.concat(both, 3)

    def _limited(self, deltas: Array) -> Array:
        if self.bounds is None:
            return deltas
        least, most = (self.ops.asarray(bound[:, None, None]) for bound in self.bounds)
        deltas = self.ops.maximum(deltas, least)
        return -self.ops.maximum(-deltas, -most)

    def _targets(self, truth: Truth) -> np.ndarray:
        """Return the normalised deltas (N G, 4, H, W) to the objects; those of other anchors mean nothing."""
        count, _, height, width = truth.boxes.shape
        groups = np.arange(count) % len(self.anchors)
        size = self.anchors.sizes[groups][:, :, None, None]
        column, row = np.meshgrid(np.arange(width), np.arange(height))
        centre = (np.stack([column, row]) + 0.5) * self.anchors.stride
        shift = (truth.boxes[:, :2] - centre) / size
        growth = np.log(np.maximum(truth.boxes[:, 2:], 2) / size)
        mean, std = (values[:, None, None] for values in self.code)
        return (np.concatenate([shift, growth], 1) - mean) / std

    def _sample(self, truth: Truth, background: np.ndarray) -> np.ndarray:
        """Return whether each anchor counts; ``background`` is its probability of being background."""
        p = self.param.detection_group_loss_param
        labels, overlap, background = (
            x.reshape(len(x) // len(self.anchors), len(self.anchors) * x[0].size) if len(x) else x.reshape(0, 0)
            for x in (truth.labels, truth.overlap, background)
        )
        kept = np.zeros(labels.shape, bool)
        for row, label, share, score in zip(kept, labels, overlap, background, strict=True):
            positive = np.flatnonzero(label > 0)
            negative = np.flatnonzero((label == 0) & (share < share.dtype.type(p.bg_threshold)))
            if p.batch_size == -1:
                most_negative = max(len(positive) * p.bg_multiple, p.min_num_neg)
            else:
                positive = self._some(positive, floor(p.batch_size / (1 + p.bg_multiple) + 0.5))
                most_negative = p.batch_size - len(positive)
            row[positive] = True
            row[self._some_negatives(negative, score[negative], most_negative)] = True
        return kept.reshape(truth.labels.shape)

    def _some(self, positions: np.ndarray, most: int) -> np.ndarray:
        return positions if len(positions) <= most else self.rng.permutation(positions)[:most]

    def _some_negatives(self, positions: np.ndarray, background: np.ndarray, most: int) -> np.ndarray:
        mining = self.param.detection_group_loss_param.neg_mining_type
        if len(positions) <= most or mining == "random":
            return self._some(positions, most)
        hard = most if mining == "bootstrap" else floor(most / 2 + 0.5)
        ranked = positions[np.argsort(background, kind="stable")]
        return np.concatenate([ranked[:hard], self._some(ranked[hard:], most - hard)])

    def _weights(self, kept: np.ndarray, positive: np.ndarray) -> np.ndarray:
        weights = np.ones(kept.shape)
        p = self.param.detection_group_loss_param
        if p.pos_neg_weighted:
            share = 1 / (1 + p.bg_multiple)
            all_kept = self.total_number(int(kept.sum()))
            for kind, part in ((positive, share), (~positive, 1 - share)):
                count = self.total_number(int((kept & kind).sum()))
                if count:
                    weights[kind] = part * all_kept / count
        return weights

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[2]:
            self.error(
                "a gradient is asked for the truth, and there is none",
                "give the layer propagate_down: three times, true, true and false",
            )
        ops, saved = self.ops, self.saved
        weight = ops.reshape(top[0].diff, (2,))[0]
        if propagate_down[0]:
            bottom[0].diff = ops.cross_entropy_backward(saved.prob, saved.index, saved.weights * weight, 1)
        if propagate_down[1]:
            bottom[1].diff = saved.slope * (weight * saved.share)
