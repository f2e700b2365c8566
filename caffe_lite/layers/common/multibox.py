"""MultiBoxLoss's choices: which predictions are to find which true boxes, and which examples count. NumPy, on the host.

A pair is a prediction of a place and its true box. Rows count prior boxes through all images of a batch.
"""

from __future__ import annotations

from itertools import product
from math import log
from typing import NamedTuple

import numpy as np

from ...data.boxes import decode, encode
from ...proto.caffe_pb2 import MultiBoxLossParameter
from .loss import SMALLEST
from .matching import UNMATCHED, hardest, log_sum_exp, match

P = MultiBoxLossParameter


class Pairs(NamedTuple):
    """The image, prior box and group of predictions of each pair, and the number of its true box."""

    image: np.ndarray
    prior: np.ndarray
    group: np.ndarray
    truth: np.ndarray

    def of(self, chosen: np.ndarray) -> Pairs:
        return Pairs(*(column[chosen] for column in self))


class MultiBox:
    """The boxes of a batch: prior boxes (P, 4) with variances, predicted places (N, P, K, 4), and true boxes.

    The true boxes that count are ``box``, with ``image`` and ``label``, in the order of the images.
    """

    def __init__(self, param: MultiBoxLossParameter, places: np.ndarray, priors: np.ndarray, truth: np.ndarray) -> None:
        self.param = param
        self.places = places
        self.priors, self.variances = priors.reshape(2, -1, 4)
        rows = truth.reshape(-1, 8)
        counts = np.trunc(rows[:, 0]) != -1
        if not param.use_difficult_gt:
            counts &= rows[:, 7] == 0
        rows = rows[counts]
        rows = rows[np.argsort(np.trunc(rows[:, 0]), kind="stable")]
        self.image, self.label = rows[:, :2].astype(np.int64).T
        self.box = rows[:, 3:7]
        if param.map_object_to_agnostic:
            self.label = np.full_like(self.label, param.background_label_id + 1)

    def match(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the true box for each image, group and prior box, (N, G, P), UNMATCHED or IGNORED.

        There is a group for each class where the predictions of each class are matched, else one. Also return the
        largest overlap for each image and prior box, (N, P).
        """
        p = self.param
        samples, priors, classes, _ = self.places.shape
        groups = 1 if p.use_prior_for_matching else classes
        numbers = np.full((samples, groups, priors), UNMATCHED)
        largest = np.zeros((samples, priors), self.priors.dtype)
        threshold = p.overlap_threshold if p.match_type == P.PER_PREDICTION else None
        for image, group in product(np.unique(self.image).tolist(), range(groups)):
            own = self.image == image if groups == 1 else (self.image == image) & (self.label == group)
            if own.any():
                own = np.flatnonzero(own)
                boxes = self.priors if p.use_prior_for_matching else self._predicted(image, slice(None), group)
                number, largest[image] = match(self.box[own], boxes, threshold, p.ignore_cross_boundary_bbox)
                matched = number > UNMATCHED
                number[matched] = own[number[matched]]
                numbers[image, group] = number
        return numbers, largest

    def pairs(self, numbers: np.ndarray) -> Pairs:
        """Return the pairs of a matching, by image, group and prior box."""
        image, group, prior = np.nonzero(numbers > UNMATCHED)
        truth = numbers[image, group, prior]
        return Pairs(image, prior, group if self.param.share_location else self.label[truth], truth)

    def rows(self, pairs: Pairs) -> np.ndarray:
        """Return the row of each pair's prior box."""
        return pairs.image * self.places.shape[1] + pairs.prior

    def place_rows(self, pairs: Pairs) -> np.ndarray:
        """Return the position of each pair's prediction among those of all images, prior boxes and classes."""
        return self.rows(pairs) * self.places.shape[2] + pairs.group

    def targets(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the right prediction for each pair and the weights of its differences, (M, 4); None if all are 1."""
        p, priors, variances = self.param, self.priors[pairs.prior], self.variances[pairs.prior]
        in_target = p.encode_variance_in_target
        targets = encode(p.code_type, self.box[pairs.truth], priors, None if in_target else variances)
        weights = 1 / variances if in_target else None
        if p.bp_inside:
            boxes = priors if p.use_prior_for_matching else self._predicted(pairs.image, pairs.prior, pairs.group)
            inside = ((boxes >= 0) & (boxes <= 1)).astype(boxes.dtype)
            weights = inside if weights is None else inside * weights
        return targets, weights

    def costs(self, scores: np.ndarray, labels: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the loss by which each prior box is chosen, (N, P), from the scores and labels of all rows.

        ``rows`` are those that are matched, ``places`` their losses of places, which count for HARD_EXAMPLE.
        """
        p = self.param
        background = p.background_label_id
        picked = scores[:, background].copy() if background < p.num_classes else np.zeros(len(scores), scores.dtype)
        picked[rows] = scores[rows, labels[rows]]
        if p.conf_loss_type == P.SOFTMAX:
            costs = np.minimum(log_sum_exp(scores) - picked, -log(SMALLEST))
        else:
            costs = (np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores)))).sum(1) - picked
        if p.mining_type == P.HARD_EXAMPLE:
            costs[rows] += places
        return costs.reshape(self.places.shape[:2])

    def mine(self, costs: np.ndarray, numbers: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """Return the rows that count as background; with HARD_EXAMPLE, take back in ``numbers`` what is not chosen."""
        p = self.param
        negatives = [np.zeros(0, np.int64)]
        for image in np.unique(self.image).tolist():
            number = numbers[image, 0]
            if p.mining_type == P.MAX_NEGATIVE:
                candidates = np.flatnonzero((number == UNMATCHED) & (largest[image] < p.neg_overlap))
                most = int(np.float32((number > UNMATCHED).sum()) * np.float32(p.neg_pos_ratio))
            else:
                candidates, most = np.arange(len(number)), p.sample_size
            boxes = None
            if p.nms_param.nms_threshold > 0 and p.HasField("nms_param"):
                boxes = self.priors if p.use_prior_for_nms else self._predicted(image, slice(None), 0)
                boxes = boxes[candidates]
            order = hardest(costs[image, candidates], max(0, most), boxes, p.nms_param.nms_threshold, p.nms_param.top_k)
            chosen = candidates[order]
            if p.mining_type == P.HARD_EXAMPLE:
                given_up = number > UNMATCHED
                given_up[chosen] = False
                negatives.append(chosen[number[chosen] == UNMATCHED] + image * len(number))
                number[given_up] = UNMATCHED
            else:
                negatives.append(chosen + image * len(number))
        return np.concatenate(negatives)

    def _predicted(self, image: int | np.ndarray, prior: slice | np.ndarray, group: int | np.ndarray) -> np.ndarray:
        """Return the boxes that these predictions of places express."""
        p = self.param
        variances = None if p.encode_variance_in_target else self.variances[prior]
        return decode(p.code_type, self.places[image, prior, group], self.priors[prior], variances)
