"""SoftmaxWithLossOHEM: SoftmaxWithLoss under the name that it has in R-FCN nets, with the loss of each region."""

from __future__ import annotations

from ..layer import register_layer
from .softmax_loss import SoftmaxWithLossLayer


@register_layer("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEMLayer(SoftmaxWithLossLayer):
    """SoftmaxWithLoss: see SoftmaxWithLossLayer. BoxAnnotatorOHEM reads the third top to find the hardest regions.

    Source: Shrivastava et al. 2016; Microsoft's Caffe for R-FCN, softmax_loss_ohem_layer.cu. Differences: it also runs
    on a CPU, and it knows PRE_FIXED; both are missing there.
    """
