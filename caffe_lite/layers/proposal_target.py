"""ProposalTarget: samples regions, and what a stage of a cascade should make of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import numpy as np

from ..blobs import Blob
from ..data.boxes import overlaps
from ..layer import Kind, register_layer
from ..logs.log import logger
from ..proto.caffe_pb2 import LayerParameter
from .common.box_regression import BoxCode
from .common.rows import RowsLayer

_SMALLEST = 32  # pixels that a region drawn at random is wide and high
_DRAWN = 256


@register_layer("ProposalTarget")
class ProposalTargetLayer(RowsLayer):
    """Regions with objects and without, their classes, and the deltas from each region to its object.

    A region belongs to the object of its image that it overlaps most. With an overlap of at least fg_thr it is
    foreground, unless the object is to be ignored, which drops the region; with one from bg_thr_lw to below bg_thr_hg
    it is background; others are spare. With append_gtbox the objects' own boxes are regions, too. Of the foreground,
    fg_fraction batch_size regions are drawn at random if there are more; of the background as many as batch_size then
    lacks. If the background is too small, the first spare ones fill up with pickup_discard. With batch_size -1, all
    foreground and background is taken. If nothing is left, a region without an object is drawn at random from an image
    of img_width x img_height.
    Bottoms: regions (R, 5), each the number of its image, x1, y1, x2, y2; objects (G, 7) or (G, 8), each the number of
    its image, x1, y1, x2, y2, class, ignored and whatever follows, as from DetectionData; a row with image -1 is none.
    Tops: M regions, foreground first, (M, 5, 1, 1); classes (M, 1, 1, 1), 0 for background; deltas (M, D, 1, 1), as
    for DecodeBBox, less bbox_mean and divided by bbox_std, in the four columns of the class, 0 elsewhere; twice weights
    (M, D, 1, 1), 1 there if the overlap is from bbox_thr_lw to bbox_thr_hg, else 0; the object of each region
    (M, 6, 1, 1): class, x1, y1, x2, y2, overlap, 0 for background; optionally weights of the regions (M, 1, 1, 1). D is
    4 cls_num or, unless cls_aware, 8: background and any object. The weights of regions are 1, or with iou_weighted the
    overlaps of foreground, made to sum to fg_fraction M over the foreground and to the rest over the background, or
    left as they are if there is no foreground. Before the first pass M is 1. There is no gradient.
    Reads ``proposal_target_param``: cls_num; batch_size (128), fg_fraction (0.25), num_img_per_batch (4), fg_thr (0.5),
    bg_thr_hg (0.5), bg_thr_lw (0.1), img_width, img_height, iou_weighted (false), bbox_thr_lw (0), bbox_thr_hg (10),
    pickup_discard (true), append_gtbox (true). Reads ``bbox_reg_param``: cls_aware (true); bbox_mean and bbox_std, four
    of each, or none for 0 and 1.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Cai and Vasconcelos 2018; proposal_target_layer.cpp of Cascade R-CNN's Caffe. Differences: five tops are
    refused (theirs writes to a sixth); a class of cls_num or more is an error (theirs writes beyond the deltas);
    boxes that share less than a pixel's width overlap by that part (theirs do not).
    """

    kind = Kind.DETECTION
    mixes_samples = True
    formula = r"y_r = c_g \text{ if } \operatorname{IoU}(r, g) \ge t, \text{ else } 0"
    bottoms = (2, 2)
    tops = (6, 7)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        count = param.proposal_target_param.batch_size
        return f"{count} regions" if count > 0 else "all regions"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_target_param
        if not p.cls_num:
            self.error("there is no cls_num", "count the classes, and the background as one of them")
        if p.batch_size < -1 or not p.batch_size:
            self.error(f"batch_size is {p.batch_size}", "use 1 or more, or -1 for all regions")
        if p.fg_thr < p.bg_thr_hg:
            self.error(f"fg_thr {p.fg_thr:g} is below bg_thr_hg {p.bg_thr_hg:g}", "no region can be both")
        if not 0 <= p.fg_fraction <= 1:
            self.error(f"fg_fraction is {p.fg_fraction:g}", "give a share between 0 and 1")
        self.code = BoxCode.of(self)
        self.width = 4 * p.cls_num if self.param.bbox_reg_param.cls_aware else 8

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        self.check_vectors(bottom[0], "regions", 5)
        self.check_vectors(bottom[1], "objects", 7, 8)
        return [(size, 1, 1) for size in (5, 1, self.width, self.width, self.width, 6, 1)]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_target_param
        regions, objects = (self.vectors(blob) for blob in bottom)
        objects = objects[np.trunc(objects[:, 0]) != -1]
        self._check_objects(objects)
        if p.append_gtbox:
            regions = np.concatenate([regions, objects[:, :5]])
        match, overlap = _best_object(regions, objects)
        foreground, background = self._sample(match, overlap, objects)
        if not len(foreground) + len(background):
            logger.info("layer: %s, sampled rois: 0, backup rois: 1", self.name)
            regions = np.concatenate([regions, self._without_object(objects).astype(regions.dtype)])
            match, overlap = np.append(match, -1), np.append(overlap, overlap.dtype.type(0))
            background = np.array([len(regions) - 1])
        self._deliver(top, regions, objects, match, overlap, foreground, background)

    def _check_objects(self, objects: np.ndarray) -> None:
        classes = np.trunc(objects[:, 5])
        most = self.param.proposal_target_param.cls_num - 1
        wrong = (classes < 1) | (classes > (most if self.width == 4 * (most + 1) else np.inf))
        if wrong.any():
            self.error(
                f"the class of an object is {classes[wrong][0]:g}",
                f"classes of objects are 1 to {most}: correct them, or cls_num",
            )

    def _sample(self, match: np.ndarray, overlap: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the regions to take: foreground and background."""
        p = self.param.proposal_target_param
        ignored = np.append(objects[:, 6] != 0, False)[match]  # the last one is for no object, -1
        above = overlap >= overlap.dtype.type(p.fg_thr)
        between = ~above & (overlap >= overlap.dtype.type(p.bg_thr_lw)) & (overlap < overlap.dtype.type(p.bg_thr_hg))
        foreground, background, spare = map(np.flatnonzero, (above & ~ignored, between, ~(above | between)))
        if p.batch_size == -1:
            return foreground, background
        foreground = self._some(foreground, floor(p.fg_fraction * p.batch_size + 0.5))
        wanted = p.batch_size - len(foreground)
        if len(background) > wanted or not p.pickup_discard:
            return foreground, self._some(background, wanted)
        return foreground, np.concatenate([background, spare[: wanted - len(background)]])

    def _some(self, positions: np.ndarray, most: int) -> np.ndarray:
        return positions if len(positions) <= most else self.rng.permutation(positions)[:most]

    def _without_object(self, objects: np.ndarray) -> np.ndarray:
        """Draw a region (1, 5) that overlaps no object enough to be foreground."""
        p = self.param.proposal_target_param
        if min(p.img_width, p.img_height) <= _SMALLEST:
            self.error(
                f"no region can be sampled, and none drawn from an image of {p.img_width} x {p.img_height} pixels",
                f"give img_width and img_height, above {_SMALLEST}",
            )
        bounds = np.array([p.img_width, p.img_height])
        start = self.rng.integers(bounds - _SMALLEST, size=(_DRAWN, 2))
        size = np.maximum(self.rng.integers(bounds - start), _SMALLEST)
        image = self.rng.integers(max(1, p.num_img_per_batch), size=(_DRAWN, 1))
        drawn = np.concatenate([image, start, start + size - 1], 1).astype(objects.dtype)
        free = np.flatnonzero(_best_object(drawn, objects)[1] < p.fg_thr)
        if not len(free):
            self.error("no region can be sampled, and objects are everywhere", "lower bg_thr_lw")
        return drawn[free[:1]]

    def _deliver(
        self,
        top: Sequence[Blob],
        regions: np.ndarray,
        objects: np.ndarray,
        match: np.ndarray,
        overlap: np.ndarray,
        foreground: np.ndarray,
        background: np.ndarray,
    ) -> None:
        """Bind the tops for these regions of all, given the object and overlap of each."""
        p = self.param.proposal_target_param
        taken, count = np.concatenate([foreground, background]), len(foreground)
        own, share = objects[match[foreground]], overlap[foreground]
        labels = np.zeros(len(taken), regions.dtype)
        labels[:count] = np.trunc(own[:, 5])
        matched = np.zeros((len(taken), 6), regions.dtype)
        matched[:count] = np.concatenate([labels[:count, None], own[:, 1:5], share[:, None]], 1)
        targets, weights = np.zeros((2, len(taken), self.width // 4, 4), regions.dtype)
        column = labels[:count].astype(int) if self.param.bbox_reg_param.cls_aware else 1
        at = np.arange(count), column
        targets[at] = self.code.encode(regions[foreground, 1:], own[:, 1:5])
        weights[at] = ((share >= p.bbox_thr_lw) & (share <= p.bbox_thr_hg))[:, None]
        worth = np.ones(len(taken), regions.dtype)
        if p.iou_weighted:
            worth[:count] = share
        total = worth[:count].sum()
        if total:
            worth[:count] *= p.fg_fraction * len(taken) / total
            worth[count:] *= (1 - p.fg_fraction) * len(taken) / max(1, len(background))
        self.deliver(top, [regions[taken], labels, targets, weights, weights.copy(), matched, worth])


def _best_object(regions: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each region the position of the object of its image that it overlaps most, and how much; or -1, 0."""
    found = overlaps(regions[:, 1:5], objects[:, 1:5], inclusive=True)
    found[regions[:, :1] != objects[:, 0]] = -1
    found = np.concatenate([found, np.full((len(regions), 1), -0.5, found.dtype)], 1)
    match = found.argmax(1)
    match[match == len(objects)] = -1
    return match, np.maximum(found.max(1, initial=0), 0)
