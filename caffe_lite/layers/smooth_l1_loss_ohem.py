"""SmoothL1LossOHEM: the loss of boxes in R-FCN nets, also for each region."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from .common.loss import normalization, normalizer
from .smooth_l1_loss import SmoothL1LossLayer


@register_layer("SmoothL1LossOHEM")
class SmoothL1LossOHEMLayer(SmoothL1LossLayer):
    """loss = 1/Z sum_i f(w_i (a_i - b_i)), with f(d) = d^2 / 2 if |d| < 1, else |d| - 1/2; dloss/da = 1/Z w f'.

    Bottoms: a and b, (N, C, H, W), with the same number of values per sample; optionally as many weights w. Tops: the
    loss, (); optionally the loss of each place, summed over the channels and not divided by Z, (N, 1, H, W), which
    BoxAnnotatorOHEM reads to find the hardest regions.
    Reads ``loss_param``: normalization (VALID), which sets Z: N H W for VALID and FULL, N for BATCH_SIZE,
    pre_fixed_normalizer (1) for PRE_FIXED, 1 for NONE, and never less than 1; normalize, if normalization is not set:
    true stands for VALID, false for BATCH_SIZE.
    Source: Shrivastava et al. 2016; Microsoft's Caffe for R-FCN, smooth_L1_loss_ohem_layer.cu. Differences: it also
    runs on a CPU, which is missing there; the gradient is multiplied by w (theirs is not, which is wrong unless w is 0
    or 1).
    """

    formula = r"L = \frac{1}{Z} \sum_i f(w_i (a_i - b_i))"
    bottoms = (2, 3)
    not_differentiable = (2,)
    width = 1.0

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.normalization = normalization(self.param.loss_param)

    def divisor(self) -> float | Array:
        num, _, *places = self.planes
        return normalizer(self, self.normalization, num, num * prod(places), None)
