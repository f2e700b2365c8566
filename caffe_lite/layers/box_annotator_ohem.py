"""BoxAnnotatorOHEM: keeps the labels of the regions with the largest losses, so that only they are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..proto.caffe_pb2 import LayerParameter


@register_layer("BoxAnnotatorOHEM")
class BoxAnnotatorOHEMLayer(Layer):
    """Labels and weights of the ``roi_per_img`` regions of each image that have the largest losses.

    The other regions get the label ``ignore_label`` and the weights 0. Of equal losses, those of earlier regions count
    as larger.
    Bottoms: regions (N, 5, H, W), whose first channel is the number of their image; their losses (N, 1, H, W), as
    SoftmaxWithLossOHEM and SmoothL1LossOHEM give them; their labels (N, 1, H, W); the weights of their boxes
    (N, C, H, W). Tops: labels (N, 1, H, W); weights (N, C, H, W). No bottom has a gradient.
    Reads ``box_annotator_ohem_param``: roi_per_img, required; ignore_label (-1).
    A net with this layer cannot be compiled, because the choice is made on the host.
    Source: Shrivastava et al. 2016; Microsoft's Caffe for R-FCN, box_annotator_ohem_layer.cu. Differences: it also runs
    on a CPU, which is missing there; no regions give empty tops (theirs aborts); the number of an image that is
    negative or not finite is an error (theirs reads memory elsewhere).
    """

    kind = Kind.DETECTION
    formula = r"y_r = l_r \text{ if } L_r \text{ is among the } k \text{ largest of its image, else } -1"
    bottoms = (4, 4)
    tops = (2, 2)
    not_differentiable = (0, 1, 2, 3)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.box_annotator_ohem_param.roi_per_img} hardest"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.box_annotator_ohem_param
        if not p.roi_per_img:
            self.error("roi_per_img is not given, or 0", "set it in box_annotator_ohem_param, to 1 or more")
        self.keep, self.ignore = p.roi_per_img, p.ignore_label

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        regions, losses, labels, weights = bottom
        num, channels, *places = (*regions.shape, 1, 1, 1)[: max(4, regions.num_axes)]
        if channels != 5:
            self.error(
                f"the regions have the shape {regions.shape}",
                "give (N, 5): the number of the image and x1, y1, x2, y2 of each",
            )
        self.planes = (num, weights.shape[1] if weights.num_axes > 1 else 1, *places)
        for blob, what, count in ((losses, "losses", 1), (labels, "labels", 1), (weights, "weights", self.planes[1])):
            if blob.shape[:1] != regions.shape[:1] or blob.count != num * count * prod(places):
                self.error(
                    f"the regions {regions.shape} and the {what} {blob.shape} do not fit together",
                    f"give {what} of shape {(num, count, *places)}",
                )
        top[0].Reshape((num, 1, *places))
        top[1].Reshape(self.planes)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        regions, losses = (ops.host_view(blob.data) for blob in bottom[:2])
        images = regions.reshape(len(regions), 5, prod(self.planes[2:]))[:, 0].ravel()
        wrong = ~(np.isfinite(images) & (images > -1))
        if wrong.any():
            self.error(f"region {wrong.argmax()} is of image {images[wrong][0]:g}", "images count from 0")
        hardest_first = np.argsort(-losses.ravel(), kind="stable")
        images = images.astype(np.int64)[hardest_first]
        kept = np.zeros(len(images), bool)
        for image in np.unique(images):
            kept[hardest_first[images == image][: self.keep]] = True
        mask = ops.asarray(kept.reshape(top[0].shape)) > 0
        top[0].data = ops.where(mask, ops.reshape(bottom[2].data, top[0].shape), ops.scalar(self.ignore))
        top[1].data = ops.where(mask, ops.reshape(bottom[3].data, self.planes), ops.scalar(0))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error(
                "a gradient is asked for, and the choice of regions has none",
                "give the layer propagate_down: false, once per bottom",
            )
