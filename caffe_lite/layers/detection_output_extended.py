"""DetectionOutputExtended: the boxes that a detector of one class has found, and where in its map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from .detection_output import DetectionOutputLayer


@register_layer("DetectionOutputExtended")
class DetectionOutputExtendedLayer(DetectionOutputLayer):
    """DetectionOutput for one class and the background, 0; each box comes with the place that it was found at.

    Bottoms: the locations, (N, H, W, A 4), for A priors at each place of a map; their scores, (N, ...), 2 for each
    prior; the priors, (1, 2, H W A 4). Top: (1, 1, K, 10), the columns of DetectionOutput's top, then the prior's
    number at its place, x and y. For all else see DetectionOutputLayer.
    Reads ``detection_output_param``: num_classes (2), and whatever DetectionOutput reads; background_label_id has no
    effect.
    Source: detection_output_extended_layer.cpp of OpenVINO's training toolbox. Difference: it can write files of
    results (the original cannot).
    """

    bottoms = (3, 3)
    columns = 10

    def _check(self, bottom: Sequence[Blob]) -> None:
        super()._check(bottom)
        if self.param.detection_output_param.num_classes != 2:
            self.error(
                f"num_classes is {self.param.detection_output_param.num_classes}",
                "use 2: the background and one class",
            )
        self.labels = [1]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].num_axes != 4:
            self.error(f"the locations have the shape {bottom[0].shape}", "give them as (N, H, W, A 4)")
        super().Reshape(bottom, top)
        self.width, self.priors_at_place = bottom[0].shape[2], bottom[0].shape[3] // (4 * self.places)

    def _origin(self, prior: np.ndarray) -> np.ndarray:
        place, number = np.divmod(prior, self.priors_at_place)
        y, x = np.divmod(place, self.width)
        return np.stack([number, x, y], 1)
