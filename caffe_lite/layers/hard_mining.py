"""HardMining: passes on the regions with the largest losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from ..proto.caffe_pb2 import LayerParameter
from .common.rows import RowsLayer


@register_layer("HardMining")
class HardMiningLayer(RowsLayer):
    """The rows of all bottoms but the first that belong to the regions with the largest losses, in their order.

    These are the num_roi_per_image regions of each image with the largest losses; where an image has fewer, the hardest
    that are left of the others fill up to num_image num_roi_per_image. Of equal losses, those of earlier regions count
    as larger.
    Bottoms: the loss of each region, (R, 1, ...); regions (R, 5), each the number of its image, x1, y1, x2, y2; others
    (R, ...). Tops: one for each bottom but the first, (M, ...), where M is R, at most num_image num_roi_per_image.
    There is no gradient.
    Reads ``hard_mining_param``: num_roi_per_image (128), num_image (4).
    A net with this layer cannot be compiled, because the choice is made on the host.
    Source: Shrivastava et al. 2016; hard_mining_layer.cpp of Cascade R-CNN's Caffe. Difference: of equal losses, theirs
    takes those of later regions.
    """

    kind = Kind.ARRANGEMENT
    mixes_samples = True
    formula = r"y = [\, x_r : L_r \text{ is among the } k \text{ largest of its image} \,]"
    bottoms = (2, None)
    tops = (1, None)
    untraceable = "the choice of regions is made on the host"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.hard_mining_param.num_roi_per_image} hardest"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.hard_mining_param
        if len(top) != len(bottom) - 1:
            self.error(f"{len(bottom)} bottoms and {len(top)} tops", "give one top for each bottom but the first")
        if not p.num_roi_per_image or not p.num_image:
            self.error("num_roi_per_image or num_image is 0", "give both at least 1")

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        p = self.param.hard_mining_param
        losses, regions = bottom[:2]
        if losses.count != regions.shape[0]:
            self.error(f"the losses have the shape {losses.shape}", f"give one for each region: ({regions.shape[0]},)")
        self.check_vectors(regions, "regions", 5)
        self.check_as_many(bottom)
        rows = regions.shape[0]
        self.rows = min(p.num_image * p.num_roi_per_image, rows)
        return [blob.shape[1:] for blob in bottom[1:]]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.hard_mining_param
        losses, regions = self.on_host(bottom[0]).ravel(), self.vectors(bottom[1])
        images = np.trunc(regions[:, 0])
        wrong = ~((images >= 0) & (images < p.num_image))
        if wrong.any():
            self.error(
                f"region {wrong.argmax()} is of image {images[wrong][0]:g}", f"images are 0 to {p.num_image - 1}"
            )
        ranked = np.argsort(-losses, kind="stable")
        hard = np.zeros(len(ranked), bool)
        for image in range(p.num_image):
            hard[ranked[images[ranked] == image][: p.num_roi_per_image]] = True
        hard[ranked[~hard[ranked]][: self.rows - int(hard.sum())]] = True
        self.deliver_rows(top, bottom[1:], np.flatnonzero(hard))
