"""MultiBoxLoss: SSD's loss, of the places and classes that a net predicts for its prior boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter, MultiBoxLossParameter
from .common.loss import SMALLEST, VALID, LossLayer, normalization, normalizer
from .common.matching import UNMATCHED
from .common.multibox import MultiBox, Pairs
from .common.smooth_l1 import slope, smooth_l1

P = MultiBoxLossParameter


@register_layer("MultiBoxLoss")
class MultiBoxLossLayer(LossLayer):
    """loss = 1/Z (loc_weight * sum of f(l - g) over all matches + sum of the class losses of the chosen prior boxes).

    l are the four numbers predicted for a matched prior box, g the true box encoded relative to it; f is half the
    square (L2), or half the square up to 1 and linear beyond (SMOOTH_L1). The class loss is that of a softmax (SOFTMAX)
    or of a sigmoid for each class (LOGISTIC), with the class of the matched true box, or else of the background.
    Matching: the pair of a true and a prior box that overlaps most is matched, then the best of the remaining ones,
    until each true box has a prior box. With PER_PREDICTION, each prior box that remains is then matched to the true
    box that it overlaps most, if by at least overlap_threshold.
    Mining chooses the prior boxes of each image with a true box whose class losses count. MAX_NEGATIVE: those that are
    matched, and neg_pos_ratio times as many of the unmatched ones that overlap no true box by neg_overlap: those with
    the largest class losses. HARD_EXAMPLE: the sample_size ones with the largest sums of both losses; other matches
    are given up. NONE: all prior boxes of all images.
    Bottoms: places (N, 4 P), or (N, 4 K P) for each of the K classes, unless share_location; scores (N, K P); the P
    prior boxes and their variances (1, 2, 4 P); the truth (1, 1, M, 8), with rows of image, class, instance, x1, y1,
    x2, y2, difficult. A row of image -1 does not count. Top: (). Places and scores get gradients; they pass over the
    matching.
    Reads ``multibox_loss_param``: num_classes, required, with the background; share_location (true); loc_loss_type
    (SMOOTH_L1), conf_loss_type (SOFTMAX), loc_weight (1); match_type (PER_PREDICTION, or BIPARTITE),
    overlap_threshold (0.5); use_prior_for_matching (true), false matches the predicted boxes instead;
    ignore_cross_boundary_bbox (false), true matches no box that reaches beyond the image; background_label_id (0);
    use_difficult_gt (true); map_object_to_agnostic (false), true makes one class of all objects; code_type (CORNER)
    and encode_variance_in_target (false), as in DetectionOutput; bp_inside (false), true takes coordinates of matched
    boxes that are outside the image out of the loss; mining_type (MAX_NEGATIVE), with which do_neg_mining of older
    files must agree; neg_pos_ratio (3), neg_overlap (0.5), sample_size (64); nms_param (none): mining passes over a box
    that overlaps a harder one by more than nms_threshold, and over all but the top_k hardest; use_prior_for_nms
    (false), true compares prior boxes for that, not predicted ones; ignore_difficult_gt (false), which must not be
    true, because no fork reads it, and objectness_score, which must not be set: it needs other bottoms, of synopsys'.
    Reads ``loss_param``: normalization (VALID), which sets Z: the number of matches for VALID, N for BATCH_SIZE, N P
    for FULL, pre_fixed_normalizer (1) for PRE_FIXED, 1 for NONE, and never less than 1; normalize, if normalization is
    not set: true stands for VALID, false for BATCH_SIZE.
    As in the original, the loss lacks the part whose bottom has propagate_down: false in the prototxt. A net with this
    layer cannot be compiled, because boxes are matched on the host.
    Source: Liu et al. 2016; multibox_loss_layer.cpp and bbox_util.cpp of SSD's Caffe. Differences: with
    encode_variance_in_target, the gradient is divided by the variances (the original's is not, which is wrong); with
    LOGISTIC and no mining, unmatched prior boxes have the background as target, as they have with mining (the original
    gives them none, and mixes up images); a top_k of 0, or none, is no limit (the original then chooses nothing); with
    map_object_to_agnostic, classes may have any number (the original aborts in mining); a true box of an image that is
    not in the batch is an error (the original leaves it out).
    """

    formula = r"L = \frac{1}{Z} \Bigl( \alpha \sum_{(i, j)} f(l_i - g_{ij}) + \sum_i L_{\text{class}}(i) \Bigr)"
    bottoms = (4, 4)
    not_differentiable = (2, 3)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.multibox_loss_param.num_classes} classes"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.multibox_loss_param
        if not p.num_classes:
            self.error("num_classes is not given, or 0", "set it in multibox_loss_param; the background counts")
        mines = p.mining_type != P.NONE
        if p.HasField("do_neg_mining") and p.do_neg_mining != mines:
            self.error(
                f"do_neg_mining does not agree with mining_type: {P.MiningType.Name(p.mining_type)}",
                "leave do_neg_mining out",
            )
        if mines and not p.share_location:
            self.error("mining works only with share_location", "set mining_type: NONE, or share_location: true")
        if p.mining_type == P.HARD_EXAMPLE and p.sample_size < 1:
            self.error(f"sample_size is {p.sample_size}", "use 1 or more")
        if p.conf_loss_type == P.SOFTMAX and p.background_label_id >= p.num_classes:
            self.error(
                f"background_label_id {p.background_label_id} is none of the {p.num_classes} classes",
                f"use 0 to {p.num_classes - 1}, or conf_loss_type: LOGISTIC",
            )
        if p.map_object_to_agnostic and p.background_label_id + 1 >= p.num_classes:
            self.error("there is no class for map_object_to_agnostic", "set num_classes: 2 and background_label_id: 0")
        if p.ignore_difficult_gt:
            self.error(
                "ignore_difficult_gt is set, which no fork reads", "set use_difficult_gt: false, or leave it out"
            )
        if p.HasField("objectness_score"):
            self.error("objectness_score is given", "leave it out: it needs the bottoms of synopsys' MultiBoxLoss")
        self.normalization = normalization(self.param.loss_param)
        self.parts = tuple(self.param.propagate_down[:2]) or (True, True)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        places, scores, priors, truth = bottom
        self.check_first_axis(bottom)
        if priors.shape[:2] != (1, 2) or priors.count % 8:
            self.error(f"the prior boxes have the shape {priors.shape}", "give (1, 2, 4 P), as PriorBox makes them")
        if truth.shape[-1:] != (8,):
            self.error(
                f"the truth has the shape {truth.shape}",
                "give (1, 1, M, 8): image, class, instance, x1, y1, x2, y2, difficult",
            )
        self.samples, self.priors = places.shape[0], priors.count // 8
        self.place_classes = 1 if self.p.share_location else self.p.num_classes
        for blob, what, values in (
            (places, "places", 4 * self.place_classes),
            (scores, "scores", self.p.num_classes),
        ):
            if blob.count != self.samples * self.priors * values:
                self.error(
                    f"the {what} {blob.shape} do not fit {self.priors} prior boxes with {values} values each",
                    f"give ({self.samples}, {self.priors * values})",
                )
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, saved, p = self.ops, self.saved, self.p
        ops.inspect(bottom[2].data, self._check_priors)
        ops.inspect(bottom[3].data, self._check_truth)
        places = ops.host_view(ops.reshape(bottom[0].data, (self.samples, self.priors, self.place_classes, 4)))
        boxes = MultiBox(p, places, ops.host_view(bottom[2].data), ops.host_view(bottom[3].data))
        numbers, largest = boxes.match()
        pairs = boxes.pairs(numbers)
        saved.slope, place_losses = self._place_losses(bottom[0], boxes, pairs)
        labels = np.full(self.samples * self.priors, p.background_label_id)
        labels[boxes.rows(pairs)] = boxes.label[pairs.truth]
        saved.chosen = None
        if p.mining_type != P.NONE:
            scores = ops.host_view(ops.reshape(bottom[1].data, (len(labels), p.num_classes)))
            costs = boxes.costs(scores, labels, boxes.rows(pairs), ops.host_view(ops.sum(place_losses, 1)))
            negatives = boxes.mine(costs, numbers, largest)
            if p.mining_type == P.HARD_EXAMPLE:
                kept = np.flatnonzero(numbers[pairs.image, 0, pairs.prior] > UNMATCHED)
                pairs = pairs.of(kept)
                saved.slope, place_losses = (ops.take_rows(x, ops.indices(kept)) for x in (saved.slope, place_losses))
            chosen = np.concatenate([boxes.rows(pairs), negatives])
            saved.chosen, labels = ops.indices(chosen), labels[chosen]
        saved.places = ops.indices(boxes.place_rows(pairs))
        if self.normalization.mode == VALID:
            saved.normalizer = self.counted_divisor(len(pairs.image))
        else:
            saved.normalizer = normalizer(self, self.normalization, self.samples, self.samples * self.priors, None)
        class_loss = self._class_loss(bottom[1], labels, boxes, pairs)
        place_loss = ops.sum(place_losses) * p.loc_weight
        total = sum(loss for loss, counts in zip((place_loss, class_loss), self.parts, strict=True) if counts)
        top[0].data = ops.scalar(total / saved.normalizer)

    def _place_losses(self, places: Blob, boxes: MultiBox, pairs: Pairs) -> tuple[Array, Array]:
        """Return the derivatives and the losses of the coordinates of all pairs, (M, 4)."""
        ops = self.ops
        targets, weights = boxes.targets(pairs)
        rows = ops.reshape(places.data, (self.samples * self.priors * self.place_classes, 4))
        d = ops.take_rows(rows, ops.indices(boxes.place_rows(pairs))) - ops.asarray(targets)
        if weights is not None:
            d = d * ops.asarray(weights)
        dx = slope(ops, d) if self.p.loc_loss_type == P.SMOOTH_L1 else d
        return dx if weights is None else dx * ops.asarray(weights), smooth_l1(d, dx)

    def _class_loss(self, scores: Blob, labels: np.ndarray, boxes: MultiBox, pairs: Pairs) -> Array:
        """Return the sum of the class losses of the chosen prior boxes."""
        ops, saved, classes = self.ops, self.saved, self.p.num_classes
        x = ops.reshape(scores.data, (self.samples * self.priors, classes))
        if saved.chosen is not None:
            x = ops.take_rows(x, saved.chosen)
        if self.p.conf_loss_type == P.SOFTMAX:
            saved.prob, saved.target = ops.softmax(x, 1), ops.indices(labels[:, None])
            return 0.0 - ops.sum(ops.log(ops.at_least(ops.pick(saved.prob, saved.target, 1), SMALLEST)))
        target = np.zeros((len(labels), classes), boxes.priors.dtype)
        some = np.flatnonzero(labels < classes)
        target[some, labels[some]] = 1
        if saved.chosen is None:  # the predictions of several classes may have found true boxes
            target[boxes.rows(pairs), boxes.label[pairs.truth]] = 1
        saved.prob, saved.target = ops.sigmoid(x), ops.asarray(target)
        return ops.sum(ops.sigmoid_cross_entropy(x, saved.target))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down[2:]):
            self.error(
                "a gradient is asked for the prior boxes or the truth, and there is none",
                "give the layer propagate_down: four times, true, true, false, false",
            )
        ops, saved = self.ops, self.saved
        scale = top[0].diff / saved.normalizer
        rows = self.samples * self.priors
        if propagate_down[0]:
            dx = ops.sum_rows(saved.slope * (scale * self.p.loc_weight), saved.places, rows * self.place_classes)
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)
        if propagate_down[1]:
            if self.p.conf_loss_type == P.SOFTMAX:
                dx = ops.cross_entropy_backward(saved.prob, saved.target, scale, 1)
            else:
                dx = (saved.prob - saved.target) * scale
            if saved.chosen is not None:
                dx = ops.sum_rows(dx, saved.chosen, rows)
            bottom[1].diff = ops.reshape(dx, bottom[1].shape)

    def _check_priors(self, values: np.ndarray) -> None:
        if not (values.reshape(2, -1)[1] > 0).all():
            self.error("a variance of the prior boxes is not above 0", "set variance in prior_box_param")

    def _check_truth(self, values: np.ndarray) -> None:
        rows = values.reshape(-1, 8)
        image, label = np.trunc(rows[:, :2]).T
        counts = image != -1
        of_class = np.isfinite(label) if self.p.map_object_to_agnostic else (label >= 0) & (label < self.p.num_classes)
        for wrong, what, hint in (
            (~np.isfinite(rows).all(1), "is not finite", "correct it"),
            (
                (image < 0) | (image >= self.samples),
                f"is of none of the {self.samples} images",
                "begin it with 0 or more",
            ),
            (label == self.p.background_label_id, "is of the background", "correct it, or set background_label_id"),
            (~of_class, f"is of none of the {self.p.num_classes} classes", "correct it, or set num_classes"),
        ):
            if (wrong & counts).any():
                number = int((wrong & counts).argmax())
                self.error(f"row {number} of the truth, {rows[number].tolist()}, {what}", hint)
