"""rpn.anchor_target_layer: what a region-proposal network should say of each anchor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data import boxes
from ...pycaffe.blob import HostBlob
from .config import cfg
from .proposal_layer import AnchorLayer, check_one_image, write


class AnchorTargetLayer(AnchorLayer):
    """Labels anchors by their overlaps with the objects of one image, and computes what moves them there.

    Bottoms: a map, (1, ..., H, W), of which only the size matters; objects (G, 5), their corners and labels; height,
    width and scale of the image, (1, 3); optionally the image, which is not read. Tops: labels (1, 1, A H, W), 1 for an
    object, 0 for background, -1 for neither; deltas, inside and outside weights, each (1, 4 A, H, W).
    param_str may have allowed_border (0), the pixels by which an anchor may leave the image. Anchors beyond, and those
    between the overlaps of background and objects, are neither, as are those left over once RPN_BATCHSIZE are drawn.
    As in the original, an object that no anchor overlaps makes all anchors that overlap nothing objects. Difference:
    without objects, all anchors are background (the original fails).
    """

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        super().setup(bottom, top)
        self.border = self.settings.get("allowed_border", 0)
        height, width = bottom[0].shape[-2:]
        count = len(self.anchors)
        top[0].reshape(1, 1, count * height, width)
        for blob in top[1:]:
            blob.reshape(1, 4 * count, height, width)

    def forward(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        check_one_image(bottom[0])
        height, width = bottom[0].shape[-2:]
        objects, info = bottom[1].data, bottom[2].data[0]
        every = self.placed_anchors(height, width)
        limits = np.array([info[1], info[0]]) + self.border
        inside = np.flatnonzero((every[:, :2] >= -self.border).all(1) & (every[:, 2:] < limits).all(1))
        anchors = every[inside]
        overlaps = boxes.overlaps(anchors, objects[:, :4].astype(float), inclusive=True)
        labels = _labels(overlaps)
        _draw(labels)

        targets = np.zeros((4, *every.shape))
        known, deltas, inner, outer = targets
        known[:, 0] = -1
        known[inside, 0] = labels
        if len(objects):
            deltas[inside] = boxes.to_deltas(anchors, objects[overlaps.argmax(1), :4].astype(float))
        inner[inside[labels == 1]] = cfg.TRAIN.RPN_BBOX_INSIDE_WEIGHTS
        for label, weight in zip((1, 0), _weights(labels), strict=True):
            outer[inside[labels == label]] = weight

        count = len(self.anchors)
        write(top[0], known[:, 0].reshape(height, width, count).transpose(2, 0, 1).reshape(1, 1, -1, width))
        for blob, values in zip(top[1:], (deltas, inner, outer), strict=True):
            write(blob, values.reshape(1, height, width, 4 * count).transpose(0, 3, 1, 2))


def _labels(overlaps: np.ndarray) -> np.ndarray:
    """Return the label of each anchor from its overlaps with each object."""
    config, best = cfg.TRAIN, overlaps.max(1, initial=0)
    labels = np.full(len(overlaps), -1)
    background = best < config.RPN_NEGATIVE_OVERLAP
    if not config.RPN_CLOBBER_POSITIVES:
        labels[background] = 0
    labels[(overlaps == overlaps.max(0, initial=0)).any(1)] = 1
    labels[best >= config.RPN_POSITIVE_OVERLAP] = 1
    if config.RPN_CLOBBER_POSITIVES:
        labels[background] = 0
    return labels


def _draw(labels: np.ndarray) -> None:
    """Make as many labels -1 as there are too many, in place."""
    size = cfg.TRAIN.RPN_BATCHSIZE
    for label, most in ((1, int(cfg.TRAIN.RPN_FG_FRACTION * size)), (0, size)):
        if label == 0:
            most -= np.count_nonzero(labels == 1)
        index = np.flatnonzero(labels == label)
        if len(index) > most:
            labels[np.random.choice(index, len(index) - most, replace=False)] = -1


def _weights(labels: np.ndarray) -> tuple[float, float]:
    """Return the outside weights of objects and of background."""
    objects, background = (int(np.count_nonzero(labels == label)) for label in (1, 0))
    weight = cfg.TRAIN.RPN_POSITIVE_WEIGHT
    if weight < 0:
        return (1 / max(1, objects + background),) * 2
    return weight / max(1, objects), (1 - weight) / max(1, background)
