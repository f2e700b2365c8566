"""BboxAccuracy: how well the boxes that a stage of a cascade predicts fit their objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..data.boxes import paired_overlaps
from ..layer import Kind, register_layer
from .common.box_regression import BoxCode
from .common.rows import ListsLayer

_OWN_BOX = 0.975  # regions that overlap their object by more are most likely its own box


@register_layer("BboxAccuracy")
class BboxAccuracyLayer(ListsLayer):
    """The mean intersection over union of predicted boxes with their objects, and that of the regions before.

    Only regions with an object count, and none that overlaps it by more than 0.975; if there are none, both numbers
    are -1. Boxes are predicted by deltas, as for DecodeBBox.
    Bottoms: deltas (R, 4 K), four for each class or, unless cls_aware, (R, 8), for background and any object; regions
    (R, 5), each the number of its image, x1, y1, x2, y2; their objects (R, 6), each class, x1, y1, x2, y2, overlap, as
    ProposalTarget gives them. All may have further axes of 1. Tops: the mean afterwards, (1, 1, 1, 1); optionally the
    mean before, (1, 1, 1, 1).
    Reads ``bbox_reg_param``: cls_aware (true); bbox_mean and bbox_std, four of each, or none for 0 and 1.
    A net with this layer cannot be compiled, because it counts on the host.
    Source: Cai and Vasconcelos 2018; bbox_accuracy_layer.cpp of Cascade R-CNN's Caffe. Differences: a class without
    deltas is an error (theirs reads memory elsewhere); boxes that share less than a pixel's width overlap by that part
    (theirs do not).
    """

    kind = Kind.LOSS
    formula = r"y = \frac{1}{n} \sum_r \operatorname{IoU}(b_r, g_r)"
    bottoms = (3, 3)
    tops = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.code = BoxCode.of(self)
        self.cls_aware = self.param.bbox_reg_param.cls_aware

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        deltas = bottom[0].shape
        self.check_vectors(bottom[0], "deltas", deltas[1] // 4 * 4 if self.cls_aware and len(deltas) > 1 else 8)
        self.check_vectors(bottom[1], "regions", 5)
        self.check_vectors(bottom[2], "objects", 6)
        self.check_as_many(bottom)
        for blob in top:
            blob.Reshape((1, 1, 1, 1))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        deltas, regions, objects = (self.vectors(blob) for blob in bottom)
        counts = (np.trunc(objects[:, 0]) > 0) & (objects[:, -1] <= _OWN_BOX)
        means = [-1.0, -1.0]
        if counts.any():
            regions, objects = regions[counts, 1:], objects[counts]
            boxes = self.code.decode(regions, self._of_classes(deltas[counts], objects[:, 0]))
            means = [float(paired_overlaps(x, objects[:, 1:5], inclusive=True).mean()) for x in (boxes, regions)]
        for blob, mean in zip(top, means, strict=False):
            blob.data = self.ops.full((1, 1, 1, 1), mean)

    def _of_classes(self, deltas: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the four deltas of each row that belong to its class."""
        classes = labels.astype(int) if self.cls_aware else np.ones(len(labels), int)
        count = deltas.shape[1] // 4
        if classes.max() >= count:
            self.error(
                f"there is an object of class {classes.max()}, and deltas for {count} classes",
                "give four deltas for each class, the background as the first, or set cls_aware to false",
            )
        return deltas.reshape(-1, count, 4)[np.arange(len(deltas)), classes]
