"""Pooling in ONNX: exactly as many windows as Caffe has, whatever the rounding of ONNX's own operators."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...onnx_graph import FLOAT, OnnxGraph, Value
from ...ops.windows import Ints, Windows, spanned


@dataclass(frozen=True)
class OnnxPooling:
    """Windows over an image, ``out`` of them along each axis; a mean counts the padding if ``includes_pad``."""

    windows: Windows
    image: Ints
    out: Ints
    includes_pad: bool = True

    def largest(self, g: OnnxGraph, x: Value) -> Value:
        """Write the largest element of each window of x (N, C, *image)."""
        return self._with_empty_windows(g, g.MaxPool(x, **self._attributes(self.windows.pad, self.image)), 0.0)

    def largest_with_places(self, g: OnnxGraph, x: Value) -> list[Value]:
        """Write ``largest``, and the place of each of these elements in its plane, as a float."""
        y, places = g.MaxPool(x, outputs=2, **self._attributes(self.windows.pad, self.image))
        mask = g.Cast(g.Mod(places, prod(self.image)), to=FLOAT)
        return [self._with_empty_windows(g, y, 0.0), self._with_empty_windows(g, mask, -1.0)]

    def mean(self, g: OnnxGraph, x: Value) -> Value:
        """Write the mean of each window of x (N, C, *image), which counts nothing beyond the padding."""
        if any(d > 1 for d in self.windows.dilation):
            return self._dilated_mean(g, x)
        pad, image = self.windows.pad, self.image
        counts_pad = self.includes_pad and any(pad)
        if counts_pad and any(end > edge for end, edge in zip(self._ends(pad, image), pad, strict=True)):
            x = g.Pad(x, [0, 0, *pad, 0, 0, *pad])
            pad, image = (0,) * len(pad), [size + 2 * edge for size, edge in zip(image, pad, strict=True)]
            counts_pad = False
        attributes = self._attributes(pad, image)
        del attributes["dilations"]
        return self._with_empty_windows(g, g.AveragePool(x, count_include_pad=int(counts_pad), **attributes), 0.0)

    def _dilated_mean(self, g: OnnxGraph, x: Value) -> Value:
        """Divide sums by counts: versions of ONNX before 19 have no dilated mean."""
        counted = [
            _counts(out, *axis, edge if self.includes_pad else 0)
            for out, edge, axis in zip(self.out, self.windows.pad, self.windows.axes(self.image), strict=True)
        ]
        counts = np.ones(())
        for along_axis in counted:
            counts = np.multiply.outer(counts, along_axis)
        weight = np.ones((x.sizes[1] or 1, 1, *self.windows.kernel))
        sums = g.Conv(x, weight, group=x.sizes[1], **self._attributes(self.windows.pad, self.image))
        return self._with_empty_windows(g, g.Div(sums, np.maximum(counts[None, None], 1)), 0.0)

    @property
    def _inside(self) -> list[int]:
        """How many windows along each axis start before the image's end."""
        axes = zip(self.out, self.image, self.windows.stride, self.windows.pad, strict=True)
        return [min(out, -(-(size + pad) // stride)) for out, size, stride, pad in axes]

    def _ends(self, pad: Ints, image: Ints) -> list[int]:
        """Return how far the last window reaches beyond the image along each axis."""
        axes = zip(self._inside, image, pad, self.windows.axes(self.image), strict=True)
        return [
            max(0, spanned(out, kernel, stride, dilation) - size - edge)
            for out, size, edge, (_, kernel, stride, _, dilation) in axes
        ]

    def _attributes(self, pad: Ints, image: Ints) -> dict[str, Any]:
        return {
            "kernel_shape": list(self.windows.kernel),
            "strides": list(self.windows.stride),
            "pads": [*pad, *self._ends(pad, image)],
            "dilations": list(self.windows.dilation),
        }

    def _with_empty_windows(self, g: OnnxGraph, y: Value, nothing: float) -> Value:
        """Append the windows that lie past the image."""
        missing = [out - inside for out, inside in zip(self.out, self._inside, strict=True)]
        padded: Value = g.Pad(y, [0] * (len(missing) + 2) + [0, 0, *missing], nothing) if any(missing) else y
        return padded


def _counts(out: int, size: int, kernel: int, stride: int, pad: int, dilation: int, counted_pad: int) -> np.ndarray:
    """Return how many elements each window has along an axis, in the image and so much padding on either side."""
    places = np.arange(out)[:, None] * stride - pad + dilation * np.arange(kernel)
    return np.sum((places >= -counted_pad) & (places < size + counted_pad), axis=1)
