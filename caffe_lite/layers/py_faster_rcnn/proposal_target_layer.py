"""rpn.proposal_target_layer: what a detector should say of each region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data import boxes
from ...errors import LayerError
from ...pycaffe.blob import HostBlob
from ...pycaffe.layer import UserLayer
from .config import cfg
from .param_str import settings
from .proposal_layer import write
from .sampling import by_class, draw_regions


class ProposalTargetLayer(UserLayer):
    """Draws regions of one image, labels them by their overlaps with its objects, and computes what moves them there.

    Bottoms: regions (R, 5), as from ProposalLayer; objects (G, 5), their corners and labels. The objects are regions,
    too. Tops: the regions drawn, (B, 5); their labels (B); deltas, inside and outside weights, (B, 4 num_classes).
    param_str has num_classes. There is no gradient. Difference: without objects, all regions are background.
    """

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        self.num_classes = settings(self.param_str, "num_classes")["num_classes"]
        for blob, columns in zip(top, (5, 1, *[4 * self.num_classes] * 3), strict=True):
            blob.reshape(1, columns)

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Do nothing: how many regions are drawn depends on values."""

    def forward(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        objects = bottom[1].data
        regions = np.concatenate([bottom[0].data, np.insert(objects[:, :4], 0, 0, 1)])
        if regions[:, 0].any():
            raise LayerError("there are regions of other images than 0", hint="this layer takes one image at a time")
        overlaps = boxes.overlaps(regions[:, 1:].astype(float), objects[:, :4].astype(float), inclusive=True)
        index, foreground = draw_regions(overlaps.max(1, initial=0), cfg.TRAIN.BATCH_SIZE)
        regions, labels, deltas = regions[index], np.zeros(len(index)), np.zeros((len(index), 4))
        if len(objects):
            matched = objects[overlaps[index].argmax(1)]
            labels[:foreground] = matched[:foreground, 4]
            deltas = boxes.to_deltas(regions[:, 1:], matched[:, :4])
        if cfg.TRAIN.BBOX_NORMALIZE_TARGETS_PRECOMPUTED:
            deltas = (deltas - cfg.TRAIN.BBOX_NORMALIZE_MEANS) / cfg.TRAIN.BBOX_NORMALIZE_STDS
        targets, weights = by_class(labels, deltas, self.num_classes)
        for blob, values in zip(top, (regions, labels, targets, weights, weights > 0), strict=True):
            write(blob, values)

    def backward(self, top: Sequence[HostBlob], propagate_down: Sequence[bool], bottom: Sequence[HostBlob]) -> None:
        """Do nothing: the diffs stay 0."""
