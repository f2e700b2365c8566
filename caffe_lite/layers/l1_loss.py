"""L1Loss: the sum of absolute differences, or of their lengths at each place."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from ..blobs import Blob
from ..layer import register_layer
from ..ops.array import Array
from .common.loss import LossLayer


@register_layer("L1Loss")
class L1LossLayer(LossLayer):
    """loss = 1/N sum |d|, with d = a - b.

    NVIDIA's layer is this sum; where d = 0, its gradient is 0. In FlowNet's, a NaN in d, as in a truth that is not
    known everywhere, costs nothing and has no gradient; where d = 0, the gradient is -1; and with l2_per_location the
    loss is the length of d at each place: 1/Z sum sqrt(s + epsilon), with s = sum_c d_c^2 over the channels.
    Bottoms: a and b, (N, C, ...), with the same number of values per sample; FlowNet's may have a alone, and b is 0.
    Both get a gradient. Top: ().
    Meanings: with two bottoms and without ``l1_loss_param`` it is NVIDIA's, otherwise FlowNet's (also Synopsys').
    Reads ``l1_loss_param``: l2_per_location (false); epsilon (0.01); l2_prescale_by_channels (false; true: s is the
    mean over the channels); normalize_by_num_entries (false: Z is N; true: Z is the number of values that are not NaN,
    over C); plateau (0): |d|, or sqrt(s), below it counts as 0 and has no gradient.
    Source: Fischer et al. 2015 (FlowNet); l1_loss_layer.cpp of NVIDIA's Caffe, l1loss_layer.cu of FlowNet2's.
    Differences: FlowNet's runs on CPUs, too; no samples cost 0 (the original gives NaN); Z is at least 1/C.
    """

    formula = r"L = \frac{1}{N} \sum_i |a_i - b_i|"
    bottoms = (1, 2)
    not_differentiable: ClassVar[tuple[int, ...]] = ()

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.l1_loss_param
        given = self.param.HasField("l1_loss_param")
        self.flownet = given or len(bottom) == 1
        if self.flownet:
            reason = "l1_loss_param is given" if given else "it has one bottom"
            self.meaning = f"FlowNet's L1Loss, because {reason}"
        else:
            self.meaning = "NVIDIA's L1Loss, because it has two bottoms and no l1_loss_param"
        if self.flownet and bottom[0].num_axes < 2:
            self.error(f"the bottom's shape {bottom[0].shape} has no channels", "give (N, C, ...), or no l1_loss_param")
        if not (p.epsilon >= 0 and p.plateau >= 0):
            self.error(f"epsilon is {p.epsilon:g} and plateau is {p.plateau:g}", "give numbers of 0 or more")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) > 1:
            self.check_pairs(bottom)
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, shape = self.ops, bottom[0].shape
        d = bottom[0].data
        if len(bottom) > 1:
            d = d - ops.reshape(bottom[1].data, shape)
        if self.flownet:
            losses = self._flownet(d)
        else:
            losses, self.saved.slope = ops.abs(d), ops.sign(d)
            self.saved.divisor = self.sized_divisor(prod(shape[:1]))
        top[0].data = ops.scalar(ops.sum(losses) / self.saved.divisor)

    def _flownet(self, d: Array) -> Array:
        """Return the losses, and save how they change with ``d``, and their divisor."""
        ops, p, (num, channels, *_) = self.ops, self.param.l1_loss_param, d.shape
        counts = d == d  # not NaN
        d = ops.where(counts, d, 0.0)
        if p.normalize_by_num_entries:
            entries = ops.at_least(self.total(ops.sum(ops.astype(counts))), 1.0)
            self.saved.divisor = entries / max(1, channels) / self.workers
        else:
            self.saved.divisor = self.sized_divisor(num)
        if p.l2_per_location:
            share = 1 / max(1, channels) if p.l2_prescale_by_channels else 1
            squares = ops.sum(d * d, 1, keepdims=True) * share
            far = squares >= p.plateau * p.plateau
            losses = ops.sqrt(ops.where(far, squares, 0.0) + p.epsilon)
            slope = ops.where(far, d * share / ops.at_least(losses, 1e-37), 0.0)
        else:
            far = ops.abs(d) >= p.plateau
            losses = ops.where(far, ops.abs(d), 0.0)
            slope = ops.where(far, ops.where(d > 0, ops.scalar(1), -1.0), 0.0)
        self.saved.slope = ops.where(counts, slope, 0.0)
        return losses

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        scale = top[0].diff / self.saved.divisor
        for blob, wanted, sign in zip(bottom, propagate_down, (1.0, -1.0), strict=False):
            if wanted:
                blob.diff = self.ops.reshape(self.saved.slope * (scale * sign), blob.shape)
