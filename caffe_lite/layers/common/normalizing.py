"""The base of BatchNorm and BN: every channel normalised by the batch's statistics, or by stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...blobs import Blob
from ...layer import Kind, Layer
from ...onnx_graph import OnnxGraph, Value
from ...ops.array import Array
from ...ops.roles import ChannelMap, Normalization

LEARNED = ("scale", "shift")


class NormalizingLayer(Layer):
    """y = scale (x - mean) / sqrt(variance + eps) + shift, channel by channel.

    ``Setup`` sets the attributes ``channels``, ``eps``, ``use_global_stats`` and ``order``, the names of the blobs:
    "mean" and "variance" if they are stored, "scale" and "shift" if they are learned.
    """

    kind = Kind.NORMALISATION
    normalizes_batch = True
    channels: int
    eps: float
    use_global_stats: bool
    order: tuple[str, ...]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.x_shape = self.with_channels(bottom[0].shape)
        if self.x_shape[1] != self.channels:
            self.error(
                f"the bottom's shape {bottom[0].shape} has {self.x_shape[1]} channels, "
                f"the statistics have {self.channels}",
                "keep the channels that the net was made with, or make the net anew",
            )
        top[0].Reshape(bottom[0].shape)

    def with_channels(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not shape:
            self.error("the bottom is a scalar", f"{self.type} needs a batch: (N, C, ...) or (N)")
        return shape if len(shape) > 1 else (*shape, 1)

    @property
    def elements(self) -> int:
        """The number of elements of each channel."""
        return self.x_shape[0] * prod(self.x_shape[2:])

    @property
    def correction(self) -> float:
        """The factor from a batch's variance to the unbiased one."""
        return self.elements / (self.elements - 1) if self.elements > 1 else 1

    def blob(self, name: str) -> Blob:
        return self.blobs[self.order.index(name)]

    def per_channel(self, name: str) -> Array:
        return self.ops.reshape(self.blob(name).data, (-1,))

    def rows(self, x: Array) -> Array:
        """Return the values of a bottom or a top as (N, C, ...)."""
        return self.ops.reshape(x, self.x_shape)

    def global_statistics(self) -> tuple[Array, Array]:
        """Return the stored mean and variance, (C)."""
        return self.per_channel("mean"), self.per_channel("variance")

    @property
    def mixes_samples(self) -> bool:
        return not self.use_global_stats and self.everyone is None

    def remember(self, mean: Array, unbiased_variance: Array, correction: float | Array) -> None:
        """Update the stored statistics by those of a batch; ``correction`` has made its variance the unbiased one."""

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> ChannelMap | Normalization | None:
        if self.use_global_stats:
            return ChannelMap(self._factor_and_term)
        if self.everyone is not None:
            return None  # no kernel knows the other batches
        learned = tuple(self.order.index(name) for name in LEARNED if name in self.order)
        return Normalization(self.eps, self.rows, lambda m, v: self.remember(m, v, self.correction), learned)

    def _factor_and_term(self) -> tuple[Array, Array]:
        mean, variance = self.global_statistics()
        factor = 1.0 / self.ops.sqrt(variance + self.eps)
        if "scale" in self.order:
            factor = factor * self.per_channel("scale")
        term = -mean * factor
        return factor, term + self.per_channel("shift") if "shift" in self.order else term

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y, _, _ = self.normalized(self.rows(bottom[0].data))
        top[0].data = self.ops.reshape(self.scaled(y), top[0].shape)

    def normalized(self, x: Array) -> tuple[Array, Array, Array]:
        """Return (x - mean) / sqrt(variance + eps), and the mean and variance used; remember those of a batch."""
        ops = self.ops
        if self.use_global_stats:
            mean, variance = self.global_statistics()
        elif self.everyone is not None:
            mean, variance = self._common_moments(x)
        else:
            mean, variance = ops.moments(x)
            self.saved.size = max(1, self.elements)
            if self.elements:
                self.remember(mean, variance * self.correction, self.correction)
        self.saved.inverse_std = 1.0 / ops.sqrt(variance + self.eps)
        self.saved.y = ops.normalize(x, mean, self.saved.inverse_std)
        return self.saved.y, mean, variance

    def _common_moments(self, x: Array) -> tuple[Array, Array]:
        """Return mean and variance of each channel over the batches of all workers; remember them."""
        ops, channels = self.ops, self.channels
        own = ops.concat([ops.full((1,), self.elements), *ops.moments(x)], 0)
        of_each = self.gathered(own)  # (workers, 1 + 2 C)
        sizes, means, variances = of_each[:, :1], of_each[:, 1 : 1 + channels], of_each[:, 1 + channels :]
        size = ops.sum(sizes)
        self.saved.size = ops.at_least(size, 1.0)
        shares = sizes / self.saved.size
        mean = ops.sum(shares * means, 0)
        apart = means - mean
        variance = ops.sum(shares * (variances + apart * apart), 0)
        if self.elements or ops.number(size):
            correction = ops.where(size > 1, size / ops.at_least(size - 1.0, 1.0), ops.scalar(1))
            self.remember(mean, variance * correction, correction)
        return mean, variance

    def scaled(self, y: Array) -> Array:
        """Multiply by the learned scale, add the learned shift."""
        scale, shift = (
            self.ops.along_channels(self.per_channel(name), y.ndim) if name in self.order else None for name in LEARNED
        )
        self.saved.scale = scale
        if scale is None:
            return y
        return y * scale if shift is None else self.ops.multiply_add(scale, y, shift)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = self.rows_onnx(g, bottom[0])
        if self.use_global_stats:
            stored = (self.ops.host_view(values) for values in self.global_statistics())
            statistics = (g.constant(values, name) for values, name in zip(stored, ("mean", "variance"), strict=True))
            learned = (
                self.learned_onnx(g, name) if name in self.order else g.constant(np.full(self.channels, value), name)
                for name, value in (("scale", 1.0), ("shift", 0.0))
            )
            y = g.like(x, g.BatchNormalization(x, *learned, *statistics, epsilon=self.eps))
        else:
            y, _, _ = self.normalized_onnx(g, x)
            y = self.scaled_onnx(g, y)
        return [g.reshape(y, top[0].sizes)]

    def rows_onnx(self, g: OnnxGraph, x: Value) -> Value:
        return x if x.ndim > 1 else g.reshape(x, (*x.sizes, 1))

    def learned_onnx(self, g: OnnxGraph, name: str) -> Value:
        return g.constant(self.ops.host_view(self.per_channel(name)), name)

    def normalized_onnx(self, g: OnnxGraph, x: Value) -> tuple[Value, Value, Value]:
        """Write what ``normalized`` computes with the statistics of the batch, which keep all axes of x."""
        axes = [0, *range(2, x.ndim)]
        mean = g.reduce("ReduceMean", x, axes)
        centred = g.Sub(x, mean)
        variance = g.reduce("ReduceMean", g.Mul(centred, centred), axes)
        y: Value = g.Div(centred, g.Sqrt(g.Add(variance, float(self.eps))))
        return g.like(x, y), mean, variance

    def scaled_onnx(self, g: OnnxGraph, y: Value) -> Value:
        """Write what ``scaled`` computes."""
        scaled = y
        for write, name in ((g.Mul, "scale"), (g.Add, "shift")):
            if name in self.order:
                scaled = write(scaled, g.along(self.learned_onnx(g, name), y.ndim))
        return g.like(y, scaled)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, dy = self.ops, self.rows(top[0].diff)
        axes = (0, *range(2, dy.ndim))
        for name, needed in zip(self.order, self.param_propagate_down, strict=True):
            if needed and name in LEARNED:
                gradient = ops.sum(dy * self.saved.y if name == "scale" else dy, axes)
                self.blob(name).add_diff(ops.reshape(gradient, self.blob(name).shape))
        if propagate_down[0]:
            dx = self.before_normalisation(dy if self.saved.scale is None else dy * self.saved.scale)
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)

    def before_normalisation(self, dy: Array) -> Array:
        """Return the gradient of x, given that of the normalised x."""
        if self.use_global_stats:
            return dy * self.ops.along_channels(self.saved.inverse_std, dy.ndim)
        if self.everyone is None:
            return self.ops.normalize_backward(dy, self.saved.y, self.saved.inverse_std)
        return self._common_backward(dy)

    def _common_backward(self, dy: Array) -> Array:
        """Return the gradient of x for the sum of the workers' losses; all of these depend on the statistics."""
        ops, y = self.ops, self.saved.y
        axes = (0, *range(2, dy.ndim))
        means = self.total(ops.concat([ops.sum(dy, axes), ops.sum(dy * y, axes)], 0)) / self.saved.size
        mean_dy, mean_dy_y = (
            ops.along_channels(part, dy.ndim) for part in (means[: self.channels], means[self.channels :])
        )
        return (dy - mean_dy - y * mean_dy_y) * ops.along_channels(self.saved.inverse_std, dy.ndim)
