"""The torch engine's kernels for several layers at once; ``fusion`` decides where they serve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..array import Gradients, Need
from ..roles import Windows
from . import onednn
from .channels_last import channels_last
from .kernels import batch_norm as own
from .kernels import depthwise, winograd, winograd_rows

aten = torch.ops.aten


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: float | None,
    windows: Windows,
) -> Callable[[Tensor, Tensor | None], Tensor] | None:
    """Return a convolution with these weights for arrays like ``x``, followed by a rectifier unless ``slope`` is None.

    It is called with such an array and one to add to the result, or None. Winograd's kernels keep the transformed
    filters. oneDNN keeps the weights in the order that its kernel for this shape reads, instead of reordering them in
    every call. Returns None if neither serves.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.ndim != 4:
        return None
    stride, pad, dilation, group = windows.stride, windows.pad, windows.dilation, windows.group
    tile = winograd.best_tile(x.shape, weight.shape, stride, pad, dilation, group)
    if tile:
        filters = winograd.filters(weight, tile, group)
        sizes = tile, weight.shape[2], weight.shape[0], pad, group

        def transformed(x: Tensor, addend: Tensor | None) -> Tensor:
            return winograd.convolution(x, filters, bias, *sizes, addend, 1.0 if slope is None else slope)

        return transformed
    direct: Callable[..., Tensor] | None = None
    if depthwise.serves(x.shape, weight.shape, group):
        direct = partial(depthwise.convolution, weight=weight, bias=bias, stride=stride, pad=pad, dilation=dilation)
    elif winograd_rows.serves(x.shape, weight.shape, stride, dilation, group):
        direct = partial(winograd_rows.convolution, weight=weight, bias=bias, stride=stride, pad=pad)
    if direct:

        def untransformed(x: Tensor, addend: Tensor | None) -> Tensor:
            last = 1.0 if slope is None or addend is not None else slope
            y = direct(x, slope=last)
            if addend is None:
                return y
            return y.add_(addend) if slope is None else rectify(y.add_(addend), slope)

        return untransformed
    if not torch.backends.mkldnn.is_available() or onednn.misses_results(x.shape, weight.shape, stride, pad, dilation):
        return None
    geometry = list(pad), list(stride), list(dilation), group
    packed = aten.mkldnn_reorder_conv2d_weight(weight.contiguous().to_mkldnn(), *geometry, list(x.shape))
    rectifier: tuple[str, list[float]] = ("none", [])
    if slope is not None:
        rectifier = ("leaky_relu", [slope]) if slope else ("relu", [])
    alone = torch.ops.mkldnn._convolution_pointwise.default
    added = torch.ops.mkldnn._convolution_pointwise.binary
    plain = None if slope is None else "relu"

    def kernel(x: Tensor, addend: Tensor | None) -> Tensor:
        x = channels_last(x)
        if addend is None:
            return alone(x, packed, bias, *geometry, *rectifier, "")
        addend = channels_last(addend)
        if slope:  # after a sum, oneDNN has only the plain rectifier
            return rectify(alone(x, packed, bias, *geometry, "none", [], "").add_(addend), slope)
        return added(x, addend, packed, bias, *geometry, "add", 1.0, plain, [], "")

    return kernel


def rectify(y: Tensor, slope: float) -> Tensor:
    """Apply ReLU, writing over ``y``."""
    return aten.relu_(y) if slope == 0 else aten.leaky_relu_(y, slope)


def limit(y: Tensor, most: float) -> Tensor:
    """Limit ``y`` to ``most``, writing over it."""
    return y.clamp_max_(most)


def normalizes(x: Tensor) -> bool:
    """Return whether ``batch_norm`` has a kernel of our own for ``x``."""
    return own.serves(x)


def batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor | None, eps: float, slope: float | None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Normalise ``x`` by its own statistics, multiply by ``scale`` and add ``shift``, channel by channel.

    The result is rectified unless ``slope`` is None. Returns it, the mean, the unbiased variance, and the values that
    ``batch_norm_backward`` needs.
    """
    if normalizes(x):
        return own.batch_norm(x, scale, shift, eps, 1.0 if slope is None else slope)
    x = channels_last(x)
    mean, variance = torch.zeros_like(scale), torch.zeros_like(scale)  # a momentum of 1 puts the batch's own there
    y, *saved = aten.native_batch_norm(x, scale, shift, mean, variance, True, 1.0, eps)
    return y if slope is None else rectify(y, slope), mean, variance, saved


def batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    saved: Any,
    eps: float,
    slope: float | None,
    need: Need,
) -> Gradients[Tensor]:
    """Return the gradients of x, scale and shift; None for one that is not needed."""
    if isinstance(saved, own.Saved):
        rectified = None if slope is None else y
        gradients = own.batch_norm_backward(dy, x, rectified, saved, scale, slope or 0.0, need[0])
    else:
        if slope is not None:
            dy = aten.threshold_backward(dy, y, 0) if slope == 0 else aten.leaky_relu_backward(dy, y, slope, False)
        dy, x = channels_last(dy), channels_last(x)
        gradients = aten.native_batch_norm_backward(dy, x, scale, None, None, *saved, True, eps, list(need))
    dx, dscale, dshift = (gradient if needed else None for gradient, needed in zip(gradients, need, strict=True))
    return dx, dscale, dshift
