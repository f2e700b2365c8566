"""BatchNorm: normalises every channel to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..ops.array import Array
from ..ops.roles import ChannelMap, Normalization
from ..proto import caffe_pb2


@register_layer("BatchNorm")
class BatchNormLayer(Layer):
    """y = (x - mean) / sqrt(variance + eps), channel by channel; a Scale layer after it learns scale and shift.

    Bottom and top: (N, C, ...), or (N), which counts as one channel (the original aborts there).
    Blobs: running mean (C), running variance (C), scale factor (1). The first two are sums with decaying weights, the
    third is the sum of those weights: the statistics are blobs 0 and 1 divided by blob 2, or 0 if blob 2 is 0.
    With use_global_stats, these statistics are used. Otherwise mean and variance are the batch's, and every Forward
    updates the blobs in place: it multiplies each by moving_average_fraction, then adds the batch's mean to the first,
    its variance (times m / (m - 1), with m elements per channel) to the second, and 1 to the third.
    Reads ``batch_norm_param``: use_global_stats (true in TEST, false in TRAIN), moving_average_fraction (0.999),
    eps (1e-5).
    The statistics are not learned: their lr_mult is set to 0, and any other value is an error.
    Source: Ioffe and Szegedy 2015; the original's batch_norm_layer.cpp. Difference: an empty batch leaves the blobs as
    they are (in the original they become NaN for good).
    """

    kind = Kind.NORMALISATION
    formula = r"y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.batch_norm_param
        self.use_global_stats = p.use_global_stats if p.HasField("use_global_stats") else self.phase == caffe_pb2.TEST
        self.fraction = p.moving_average_fraction
        self.eps = p.eps
        self.channels = self._with_channels(bottom[0].shape)[1]
        self.blobs = [Blob(self.ops, (n,)) for n in (self.channels, self.channels, 1)]
        for i in range(len(self.blobs)):
            if len(self.param.param) == i:
                self.param.param.add().lr_mult = 0
            elif self.param.param[i].lr_mult != 0:
                self.error(
                    f"the lr_mult of blob {i} is {self.param.param[i].lr_mult:g}, but its blobs are not learned: they "
                    "are running statistics",
                    "write lr_mult: 0 in each param, or leave them out",
                )

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.x_shape = self._with_channels(bottom[0].shape)
        if self.x_shape[1] != self.channels:
            self.error(
                f"the bottom's shape {bottom[0].shape} has {self.x_shape[1]} channels, "
                f"the statistics have {self.channels}",
                "keep the channels that the net was made with, or make the net anew",
            )
        top[0].Reshape(bottom[0].shape)

    def _with_channels(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not shape:
            self.error("the bottom is a scalar", "BatchNorm needs a batch: (N, C, ...) or (N)")
        return shape if len(shape) > 1 else (*shape, 1)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> ChannelMap | Normalization:
        if self.use_global_stats:
            return ChannelMap(self._factor_and_term)
        return Normalization(self.eps, lambda x: self.ops.reshape(x, self.x_shape), self._remember)

    def _factor_and_term(self) -> tuple[Array, Array]:
        mean, variance = self._global_statistics()
        factor = 1.0 / self.ops.sqrt(variance + self.eps)
        return factor, -mean * factor

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        x = ops.reshape(bottom[0].data, self.x_shape)
        if self.use_global_stats:
            mean, variance = self._global_statistics()
        else:
            mean, variance = ops.moments(x)
            m = self.x_shape[0] * prod(self.x_shape[2:])
            if m:
                self._remember(mean, variance * (m / (m - 1)) if m > 1 else variance)
        self.saved.inverse_std = 1.0 / ops.sqrt(variance + self.eps)
        self.saved.y = ops.normalize(x, mean, self.saved.inverse_std)
        top[0].data = ops.reshape(self.saved.y, top[0].shape)

    def _global_statistics(self) -> tuple[Array, Array]:
        """Return the mean and the variance that the blobs hold."""
        mean, variance, weight = (blob.data for blob in self.blobs)
        share = self.ops.astype(weight != 0) / self.ops.where(weight == 0, self.ops.scalar(1), weight)
        return mean * share, variance * share

    def _remember(self, mean: Array, unbiased_variance: Array) -> None:
        """Add a batch's statistics to the running ones."""
        for blob, latest in zip(self.blobs, (mean, unbiased_variance, 1.0), strict=True):
            statistic = blob.data
            statistic *= self.fraction
            statistic += latest

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops = self.ops
        dy = ops.reshape(top[0].diff, self.x_shape)
        if self.use_global_stats:
            dx = dy * ops.along_channels(self.saved.inverse_std, len(self.x_shape))
        else:
            dx = ops.normalize_backward(dy, self.saved.y, self.saved.inverse_std)
        bottom[0].diff = ops.reshape(dx, bottom[0].shape)
