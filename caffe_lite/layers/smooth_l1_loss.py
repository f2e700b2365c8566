"""SmoothL1Loss: the loss of the corners of boxes, half the square near 0 and linear beyond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from .common.loss import LossLayer
from .common.smooth_l1 import slope, smooth_l1


@register_layer("SmoothL1Loss")
class SmoothL1LossLayer(LossLayer):
    """loss = 1/Z sum_i v_i f(w_i (a_i - b_i)), with f(d) = (s d)^2 / 2 if |d| < 1/s^2, else |d| - 1 / (2 s^2).

    dloss/da = 1/Z v w f'(w (a - b)), dloss/db = -dloss/da: either bottom may be the prediction. Z is N, at least 1.
    Bottoms: a and b, (N, C, ...), with the same number of values per sample; optionally as many weights w, inside f;
    and after them as many weights v, outside it. A weight that is not given is 1. Tops: the loss, (); optionally the
    loss of each place, summed over the channels and not divided by Z, (N, 1, H, W).
    Meanings: with four bottoms it is Fast R-CNN's, with three SSD's; with two both are the same, but only Fast R-CNN's
    has a sigma.
    Reads ``smooth_l1_loss_param``: sigma (1), the s above.
    Source: Girshick 2015, smooth_L1_loss_layer.cpp of Fast R-CNN's and of SSD's Caffe; the second top: cascade-rcnn.
    Differences: with three bottoms, the gradient is multiplied by w (SSD's is not, which is wrong unless w is 0 or 1);
    synopsys' abssum is refused; no samples cost 0 (SSD's gives NaN); a gradient that reaches the second top counts (the
    one of cascade-rcnn drops it).
    """

    formula = r"""L = \frac{1}{N} \sum_i v_i f(w_i (a_i - b_i)), \quad
        f(d) = \begin{cases} \frac{1}{2} (\sigma d)^2 & |d| < 1/\sigma^2 \\ |d| - 1/(2 \sigma^2) & \text{else}
        \end{cases}"""
    bottoms = (2, 4)
    tops = (1, 2)
    not_differentiable: ClassVar[tuple[int, ...]] = (2, 3)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.smooth_l1_loss_param
        if len(bottom) == 3:
            self.meaning = "SSD's SmoothL1Loss, because it has three bottoms"
        elif len(bottom) == 4:
            self.meaning = "Fast R-CNN's SmoothL1Loss, because it has four bottoms"
        if p.HasField("abssum"):
            self.error("abssum is given", "leave it out: this is the sum of the losses; abssum is a field of synopsys'")
        if not p.sigma * p.sigma > 0:
            self.error(f"sigma is {p.sigma:g}", "give a number above 0")
        self.width = 1 / (p.sigma * p.sigma)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for other in bottom[1:]:
            self.check_pairs([bottom[0], other])
        num, channels, *places = (*bottom[0].shape, 1, 1, 1, 1)[: max(4, bottom[0].num_axes)]
        self.planes = (num, channels, *places)
        top[0].Reshape(())
        if len(top) > 1:
            top[1].Reshape((num, 1, *places))

    def divisor(self) -> float | Array:
        """Return Z."""
        return self.sized_divisor(self.planes[0])

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        a, b, *self.saved.weights = (ops.reshape(blob.data, bottom[0].shape) for blob in bottom)
        d = a - b
        if self.saved.weights:
            d = d * self.saved.weights[0]
        self.saved.slope = slope(ops, d, self.width)
        losses = smooth_l1(d, self.saved.slope, self.width)
        if len(bottom) > 3:
            losses = losses * self.saved.weights[1]
        self.saved.divisor = self.divisor()
        top[0].data = ops.scalar(ops.sum(losses) / self.saved.divisor)
        if len(top) > 1:
            top[1].data = ops.sum(ops.reshape(losses, self.planes), 1, keepdims=True)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops = self.ops
        for blob, wanted in zip(bottom[2:], propagate_down[2:], strict=True):
            if wanted:  # as in Faster R-CNN's nets, where they depend on the regions that are found
                blob.diff = ops.zeros(blob.shape)
        if not any(propagate_down):
            return
        scale = top[0].diff / self.saved.divisor
        dx = self.saved.slope
        for weight in self.saved.weights:
            dx = dx * weight
        if len(top) > 1 and top[1].has_diff:
            dx = ops.reshape(ops.reshape(dx, self.planes) * (top[1].diff + scale), bottom[0].shape)
        else:
            dx = dx * scale
        for blob, wanted, sign in zip(bottom, propagate_down, (1.0, -1.0), strict=False):
            if wanted:
                blob.diff = ops.reshape(dx * sign, blob.shape)
