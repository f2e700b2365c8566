"""SegmentationEvaluate: the intersection over union of each class, from maps that may overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..data.images.image import BYTE, resize_image
from ..layer import Kind, register_layer
from .common.rows import ListsLayer


@register_layer("SegmentationEvaluate")
class SegmentationEvaluateLayer(ListsLayer):
    """Compares the map of each class with its true map; pixels above threshold belong to the class.

    Predictions of another size are turned into whole numbers from 0 to 255 and interpolated to the size of the truth;
    threshold is then rounded down to such a number, too.
    Bottoms: the predictions, from 0 to 1, (N, C, h, w); the truth (N, C, H, W). Top: for each class the number of
    pixels in both, over that in one or both, (1, 1, 1, C). Where no pixel is in both it is 0; but -1 for a class
    without true pixels if the sizes differ. There is no gradient.
    Reads ``segmentation_evaluate_param``: num_classes, which must be given; threshold (0.5).
    Source: segmentation_evaluate_layer.cpp of MobileNet-YOLO. Differences: the original counts the pixels of the first
    image of a batch; num_classes may be any number, and counts of channels that differ are no error.
    """

    kind = Kind.LOSS
    formula = r"y_c = \frac{|P_c \cap T_c|}{|P_c \cup T_c|}"
    bottoms = (2, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.segmentation_evaluate_param
        if not p.HasField("num_classes"):
            self.error("there is no num_classes", "count the channels of the maps")
        self.threshold = p.threshold

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shapes = [blob.shape for blob in bottom]
        classes = self.param.segmentation_evaluate_param.num_classes
        if any(len(shape) != 4 for shape in shapes) or shapes[0][:2] != shapes[1][:2] or shapes[0][1] != classes:
            self.error(
                f"the predictions have the shape {shapes[0]}, and the truth {shapes[1]}",
                f"give both as (N, {classes}, H, W), or set num_classes",
            )
        top[0].Reshape((1, 1, 1, classes))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        predictions, truth = (self.on_host(blob) for blob in bottom)
        true = truth > self.threshold
        resized = predictions.shape != truth.shape
        if resized:
            found = self._resized(predictions, truth.shape) > int(np.float32(self.threshold) * np.float32(255))
        else:
            found = predictions > self.threshold
        both, either, there = (each.sum((0, 2, 3)) for each in (true & found, true | found, true))
        values = both / np.maximum(either, 1)
        if resized:
            values[there == 0] = -1
        top[0].data = self.ops.asarray(values.reshape(1, 1, 1, -1))

    def _resized(self, maps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return maps as bytes in the size of these (N, C, H, W)."""
        scaled = np.clip(maps * 255, 0, 255).astype(BYTE)
        resized: np.ndarray = np.empty(shape, BYTE)
        for place in np.ndindex(*shape[:2]):
            resized[place] = resize_image(np.ascontiguousarray(scaled[place]), shape[2], shape[3])
        return resized
