"""LabelsequenceAccuracy: how many sequences of frames spell their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from .common.rows import ListsLayer


@register_layer("LabelsequenceAccuracy")
class LabelsequenceAccuracyLayer(ListsLayer):
    """The share of the sequences whose best classes, frame by frame, spell the labels, as CTCLoss reads them.

    Runs of a class count once, and the blank is left out, also of the labels.
    Bottoms: scores (N, T, C); labels (N, L). Top: ().
    Reads ``labelsequence_accuracy_param``: blank_label (0).
    Source: warpctc-caffe's labelsequence_accuracy_layer.cpp. Difference: of no sequences the share is 0 (the original
    gives NaN).
    """

    kind = Kind.LOSS
    formula = r"a = \frac{1}{N} \sum_n [\, \text{best classes of } n \text{ spell } l_n ]"
    bottoms = (2, 2)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, labels = (blob.shape for blob in bottom)
        if len(scores) != 3 or not scores[2]:
            self.error(f"the scores have the shape {scores}", "give (N, T, C): sequences, frames, classes")
        if labels[:1] != scores[:1]:
            self.error(f"the labels have the shape {labels}", f"beside the scores {scores} give ({scores[0]}, L)")
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        blank = self.param.labelsequence_accuracy_param.blank_label
        best = self.on_host(bottom[0]).argmax(2)
        begins = np.full(best.shape, True)
        begins[:, 1:] = best[:, 1:] != best[:, :-1]
        spelt = begins & (best != blank)
        labels = self.on_host(bottom[1]).reshape(len(best), bottom[1].count // max(1, len(best)))
        right = [
            np.array_equal(classes[chosen], row[row != blank].astype(np.int64))
            for classes, chosen, row in zip(best, spelt, labels, strict=True)
        ]
        top[0].data = self.ops.scalar(sum(right) / max(1, len(best)))
