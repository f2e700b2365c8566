"""BatchNorm: normalises every channel to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..logs.log import logger
from ..ops.array import Array
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import FillerParameter
from .common.fillers import fill
from .common.normalizing import LEARNED, NormalizingLayer
from .common.statistics import not_learned

STATISTICS = ("mean", "variance", "weight")
OLDER_ORDER = (*LEARNED, *STATISTICS)


@register_layer("BatchNorm")
class BatchNormLayer(NormalizingLayer):
    """y = (x - mean) / sqrt(variance + eps), channel by channel; a Scale layer after it learns scale and shift.

    Bottom and top: (N, C, ...), or (N), which counts as one channel (the original aborts there).
    Blobs: running mean (C), running variance (C), scale factor (1). The first two are sums with decaying weights, the
    third is the sum of those weights: the statistics are blobs 0 and 1 divided by blob 2, or 0 if blob 2 is 0.
    With use_global_stats, these statistics are used. Otherwise mean and variance are the batch's, and every Forward
    updates the blobs in place: it multiplies each by moving_average_fraction, then adds the batch's mean to the first,
    its variance (times m / (m - 1), with m elements per channel) to the second, and 1 to the third.
    The statistics are not learned: their lr_mult is set to 0, and any other value is an error.
    Intel's and NVIDIA's also learn a scale and a shift, y = scale (x - mean) / sqrt(variance + eps) + shift, in two
    more blobs (C). NVIDIA's mean and variance are plain averages, whatever the scale factor is: the first batch's are
    taken as they are, each later one (its variance not multiplied) counts 1 - moving_average_fraction. TEST always uses
    them, eps is 1e-5 at least, and scale and shift have an lr_mult and a decay_mult of 1. Older nets of NVIDIA have
    scale and shift before the statistics, and all shapes (1, C, 1, 1); a net is one of them if its third param has an
    lr_mult of 0 and its first has not. Weights files of either order fit: the blob that holds one value tells them
    apart.
    Reads ``batch_norm_param``: use_global_stats (true in TEST, false in TRAIN), moving_average_fraction (0.999),
    eps (1e-5); scale_bias (false), scale_filler (constant 1), bias_filler (constant 0), filler (constant 1),
    bias_term (true).
    Meanings: it is Intel's with filler, NVIDIA's with scale_bias true, scale_filler or bias_filler, otherwise BVLC's.
    Source: Ioffe and Szegedy 2015; the original's batch_norm_layer.cpp, and those of NVIDIA's and Intel's Caffe.
    Difference: an empty batch leaves the blobs as they are (in the original they become NaN for good). NVIDIA's newest
    Caffe also takes the second batch's statistics as they are, and those of the first two after it has resumed.
    """

    formula = r"y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}"
    reads_fork_fields = (
        "BatchNormParameter.scale_bias",
        "BatchNormParameter.scale_filler",
        "BatchNormParameter.bias_filler",
        "BatchNormParameter.filler",
        "BatchNormParameter.bias_term",
    )

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.batch_norm_param
        intel = p.HasField("filler")
        reasons = ["scale_bias is true"] if p.scale_bias else []
        reasons += [f"{field} is given" for field in ("scale_filler", "bias_filler") if p.HasField(field)]
        self.nvidia = not intel and bool(reasons)
        if intel:
            self.meaning = "Intel's BatchNorm, because filler is given"
        elif self.nvidia:
            self.meaning = f"NVIDIA's BatchNorm, because {reasons[0]}"
        if self.nvidia:
            self.use_global_stats = p.use_global_stats or self.phase == caffe_pb2.TEST
            self.eps = max(p.eps, 1e-5)
        else:
            self.use_global_stats = (
                p.use_global_stats if p.HasField("use_global_stats") else self.phase == caffe_pb2.TEST
            )
            self.eps = p.eps
        self.fraction = p.moving_average_fraction
        self.channels = self.with_channels(bottom[0].shape)[1]
        learned = LEARNED if self.nvidia or (intel and p.bias_term) else LEARNED[:1] if intel else ()
        specs = self.param.param
        older = self.nvidia and len(specs) > 2 and specs[0].lr_mult != 0 and specs[2].lr_mult == 0
        self.order = OLDER_ORDER if older else (*STATISTICS, *learned)
        for name in self.order:
            size = 1 if name == "weight" else self.channels
            self.blobs.append(Blob(self.ops, (1, size, 1, 1) if older else (size,)))
            if name in LEARNED:
                filler = "bias_filler" if name == "shift" else "filler" if intel else "scale_filler"
                given = getattr(p, filler) if p.HasField(filler) else FillerParameter(value=name == "scale")
                fill(self.blobs[-1], given, self.rng)
            elif name == "weight" and self.nvidia and not older:
                fill(self.blobs[-1], FillerParameter(value=1), self.rng)
        self._set_learning_rates(self.nvidia and not older)

    def _set_learning_rates(self, fixed: bool) -> None:
        """Keep the solver from the statistics; if ``fixed``, it gives scale and shift its own rate in any case."""
        not_learned(self, [i for i, name in enumerate(self.order) if name in STATISTICS])
        specs = self.param.param
        for i, name in enumerate(self.order):
            spec = specs[i] if i < len(specs) else specs.add()
            if name in LEARNED and fixed and (spec.lr_mult, spec.decay_mult) != (1, 1):
                logger.warning(
                    "%s: blob %d has an lr_mult and a decay_mult of 1, as in NVIDIA's Caffe, whatever its param says",
                    *(self.name, i),
                )
                spec.lr_mult = spec.decay_mult = 1

    def fitted(self, arrays: Sequence[np.ndarray | None]) -> Sequence[np.ndarray | None]:
        stored = [array for array in arrays if array is not None]
        if not (self.nvidia and len(stored) == len(arrays) == len(self.order)):
            return arrays
        older = stored[-1].size == 1 and (stored[2].size != 1 or stored[2].ndim == 4)
        named = dict(zip(OLDER_ORDER if older else (*STATISTICS, *LEARNED), stored, strict=True))
        if (weight := named["weight"].ravel()[0]) not in (0, 1):  # sums, as Intel's older Caffe saves them
            named |= {"mean": named["mean"] / weight, "variance": named["variance"] / weight}
            named["weight"] = np.ones_like(named["weight"])
        return [
            named[name].reshape(blob.shape) if named[name].size == blob.count else named[name]
            for name, blob in zip(self.order, self.blobs, strict=True)
        ]

    def global_statistics(self) -> tuple[Array, Array]:
        mean, variance, weight = map(self.per_channel, STATISTICS)
        if self.nvidia:
            return mean, variance
        share = self.ops.astype(weight != 0) / self.ops.where(weight == 0, self.ops.scalar(1), weight)
        return mean * share, variance * share

    def remember(self, mean: Array, unbiased_variance: Array, correction: float | Array) -> None:
        if self.nvidia:
            self._average(mean, unbiased_variance / correction)
            return
        for blob, latest in zip(map(self.blob, STATISTICS), (mean, unbiased_variance, 1.0), strict=True):
            statistic = blob.data
            statistic *= self.fraction
            statistic += latest

    def _average(self, mean: Array, variance: Array) -> None:
        """Take a batch's statistics into the running averages; the first as they are."""
        seen = self.ops.astype(self.ops.sum(self.per_channel("variance")) != 0) * self.fraction
        for name, latest in (("mean", mean), ("variance", variance)):
            statistic = self.blob(name).data
            statistic *= seen
            statistic += self.ops.reshape(latest * (1 - seen), statistic.shape)
