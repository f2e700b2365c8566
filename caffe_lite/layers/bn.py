"""BN: normalises every channel, then scales and shifts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.roles import ChannelMap, Normalization
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import BNParameter, FillerParameter
from .common.fillers import fill
from .common.normalizing import LEARNED, NormalizingLayer

STATISTICS = ("mean", "variance")
_SEGNET = ("bn_mode", "scale_filler", "shift_filler")
_AVERAGES = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine", "icnet")


@register_layer("BN")
class BNLayer(NormalizingLayer):
    """y = scale (x - mean) / sqrt(variance + eps) + shift, channel by channel.

    SegNet's takes the statistics of the batch, in TEST, too, with eps 1e-9; with bn_mode INFERENCE it only scales and
    shifts. Blobs: scale and shift, (1, C, 1, 1).
    yjxiong's takes the batch's statistics in TRAIN, and in TEST, or with frozen, the running ones. Every Forward with
    the batch's keeps momentum of the running mean and variance and adds (1 - momentum) of the batch's; the variance is
    divided by the number of elements. Blobs: slope (the scale), bias (the shift), running mean and variance, (1, C).
    The running statistics are not learned: their lr_mult is 0; with frozen, so are those of slope and bias.
    Bottom and top: (N, C, ...), or (N), which counts as one channel. Tops 2 and 3 (SegNet) are the batch's mean and
    variance, (1, C, 1, 1).
    Meanings: it is yjxiong's (also happynear's, PSPNet's and mini-caffe's) if slope_filler, bias_filler, momentum, eps,
    frozen, engine or icnet is given, or more than two ``param``. Otherwise it is SegNet's (also ENet's).
    Reads ``bn_param``: bn_mode (LEARN), scale_filler (constant 0), shift_filler (constant 0); or slope_filler
    (constant 0), bias_filler (constant 0), momentum (0.9), eps (1e-5), frozen (false). ``engine`` and ``icnet`` only
    tell that the layer is yjxiong's.
    Source: Ioffe and Szegedy 2015; bn_layer.cpp of SegNet's Caffe and of yjxiong's.
    Differences: the gradients of scale and shift are added to their diffs (SegNet's overwrites them); gradients that
    reach the tops of mean and variance count (SegNet's drops them), and with INFERENCE these tops are an error (they
    hold nothing there); in TEST the gradient is that of the running statistics (yjxiong's takes them for the batch's);
    blob 3 is a variance (mini-caffe's CPU code reads it as 1 / sqrt(variance)).
    """

    formula = r"y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta"
    tops = (1, 3)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.bn_param
        self.averages, reason = self._has_averages(p)
        self.meaning = f"{'yjxiong' if self.averages else 'SegNet'}'s BN, because {reason}"
        self.channels = self.with_channels(bottom[0].shape)[1]
        self.inference = p.bn_mode == BNParameter.INFERENCE
        if len(top) > 1 and (self.averages or self.inference):
            which = "yjxiong's BN" if self.averages else "BN with bn_mode INFERENCE"
            self.error(f"{which} has no tops of mean and variance", "keep the first top only")
        if self.averages:
            self.eps = p.eps
            self.use_global_stats = p.frozen or self.phase == caffe_pb2.TEST
            self._stop_learning((0, 1, 2, 3) if p.frozen else (2, 3))
            shape: tuple[int, ...] = (1, self.channels)
            fillers = p.slope_filler, p.bias_filler
        else:
            self.eps, self.use_global_stats = 1e-9, False
            shape = (1, self.channels, 1, 1)
            fillers = p.scale_filler, p.shift_filler
        self.order = (*LEARNED, *STATISTICS) if self.averages else LEARNED
        self.blobs = [Blob(self.ops, shape) for _ in self.order]
        for blob, filler in zip(self.blobs, fillers, strict=False):
            fill(blob, filler, self.rng)
        if self.averages and p.frozen:
            fill(self.blobs[3], FillerParameter(value=1), self.rng)

    def _has_averages(self, p: BNParameter) -> tuple[bool, str]:
        """Return whether the layer is the one with running statistics, and why."""
        segnet, averages = ([name for name in names if p.HasField(name)] for names in (_SEGNET, _AVERAGES))
        if segnet and averages:
            self.error(
                f"it has {segnet[0]}, of SegNet's BN, and {averages[0]}, of yjxiong's",
                "keep the fields of the layer that the net was made for",
            )
        if segnet or averages:
            return bool(averages), f"{(segnet + averages)[0]} is given"
        if len(self.param.param) > 2:
            return True, f"it has {len(self.param.param)} param"
        return False, "no field of yjxiong's is given"

    def _stop_learning(self, blobs: Sequence[int]) -> None:
        while len(self.param.param) < 4:
            self.param.param.add()
        for index in blobs:
            self.param.param[index].lr_mult = 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().Reshape(bottom, top)
        for blob in top[1:]:
            blob.Reshape((1, self.channels, 1, 1))

    def fitted(self, arrays: Sequence[np.ndarray | None]) -> Sequence[np.ndarray | None]:
        if len(arrays) == 4 and not self.averages:
            self.error(
                "the weights file has the 4 blobs of yjxiong's BN for it, and it is SegNet's, with 2",
                "write bn_param { frozen: false }, without bn_mode and SegNet's fillers, if yjxiong's is meant",
            )
        # Forks with the same blobs store them as (1, C) or (1, C, 1, 1).
        shape = self.blobs[0].shape
        return [a.reshape(shape) if a is not None and a.size == self.channels else a for a in arrays]

    @property
    def mixes_samples(self) -> bool:
        return super().mixes_samples and not self.inference

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> ChannelMap | Normalization | None:
        if self.inference:
            return ChannelMap(lambda: (self.per_channel("scale"), self.per_channel("shift")))
        return super().role(bottom, top)

    def remember(self, mean: Array, unbiased_variance: Array, correction: float | Array) -> None:
        momentum = self.param.bn_param.momentum
        for blob, latest in zip(self.blobs[2:], (mean, unbiased_variance / correction), strict=False):
            statistic = blob.data
            statistic *= momentum
            statistic += (1 - momentum) * self.ops.reshape(latest, blob.shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.rows(bottom[0].data)
        if self.inference:
            self.saved.y = x
        else:
            _, *statistics = self.normalized(x)
            for blob, values in zip(top[1:], statistics, strict=False):
                blob.data = self.ops.reshape(values, blob.shape)
        top[0].data = self.ops.reshape(self.scaled(self.saved.y), top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if self.averages:
            return super().to_onnx(g, bottom, top)
        x = self.rows_onnx(g, bottom[0])
        y, *statistics = [x] if self.inference else self.normalized_onnx(g, x)
        results = [self.scaled_onnx(g, y), *statistics][: len(top)]
        return [g.reshape(result, wanted.sizes) for result, wanted in zip(results, top, strict=True)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        super().Backward(top, propagate_down, bottom)
        if propagate_down[0] and any(blob.has_diff for blob in top[1:]):
            ops, y, dx = self.ops, self.saved.y, self.rows(bottom[0].diff)
            deviation = y / ops.along_channels(self.saved.inverse_std, y.ndim)
            for blob, slope in zip(top[1:], (1.0, 2.0 * deviation), strict=False):
                share = self.total(ops.reshape(blob.diff, (self.channels,))) / self.saved.size
                dx = dx + ops.along_channels(share, y.ndim) * slope
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)

    def before_normalisation(self, dy: Array) -> Array:
        return dy if self.inference else super().before_normalisation(dy)
