"""FlowWarp: an image seen through a flow."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import FlowWarpParameter


@register_layer("FlowWarp")
class FlowWarpLayer(Layer):
    """y(p) = x(p + f(p)), interpolated between the four pixels around; outside the image, fill_value.

    Bottoms: images x (N, C, H, W); flows f (N, 2, H, W), in pixels, right and down. Top: (N, C, H, W). Both get a
    gradient, but none where the flow leads outside. Beyond the middle of the last pixel, the image goes on with it.
    Reads ``flow_warp_param``: fill_value (ZERO; or NOT_A_NUMBER).
    Source: Ilg et al. 2017 (FlowNet 2.0); flow_warp_layer.cpp of FlowNet2. Differences: it computes in the type of the
    net (the original always in float32); a flow that leads outside has the gradient 0 (the original leaves the gradient
    of another pass there).
    """

    kind = Kind.ARRANGEMENT
    formula = r"y(p) = x(p + f(p))"
    bottoms = (2, 2)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, flows = (blob.shape for blob in bottom)
        if len(images) != 4 or flows != (images[0], 2, *images[2:]):
            self.error(
                f"the bottoms have the shapes {images} and {flows}", "give images (N, C, H, W) and flows (N, 2, H, W)"
            )
        top[0].Reshape(images)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, saved, (num, channels, height, width) = self.ops, self.saved, bottom[0].shape
        rows, columns = np.indices((height, width))
        flow = bottom[1].data
        x, y = flow[:, 0] + ops.asarray(columns), flow[:, 1] + ops.asarray(rows)
        saved.inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        x, y = (ops.where(saved.inside, place, 0.0) for place in (x, y))
        left, upper = (ops.astype(ops.indices(place)) for place in (x, y))
        right, lower = ops.at_most(left + 1.0, width - 1), ops.at_most(upper + 1.0, height - 1)
        saved.across, saved.down = (ops.reshape(part, (-1, 1)) for part in (x - left, y - upper))
        image = ops.indices(np.arange(num).reshape(num, 1, 1))
        saved.corners = [
            ops.reshape((image * height + ops.indices(row)) * width + ops.indices(column), (-1,))
            for row in (upper, lower)
            for column in (left, right)
        ]
        pixels = self._rows(bottom[0].data)
        saved.values = [ops.take_rows(pixels, corner) for corner in saved.corners]
        seen = sum(weight * value for weight, value in zip(self._weights(), saved.values, strict=True))
        seen = ops.transpose(ops.reshape(seen, (num, height, width, channels)), (0, 3, 1, 2))
        zero = self.param.flow_warp_param.fill_value == FlowWarpParameter.ZERO
        top[0].data = ops.where(saved.inside[:, None], seen, 0.0 if zero else nan)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        images, (height, width) = bottom[0], bottom[0].image
        rows, columns = np.indices((height, width), np.float32)
        x, y = g.Split(bottom[1], [1, 1], axis=1, outputs=2)
        x, y = g.Add(x, columns), g.Add(y, rows)
        inside = g.And(g.And(g.GreaterOrEqual(x, 0.0), g.Less(x, float(width))), g.GreaterOrEqual(y, 0.0))
        inside = g.And(inside, g.Less(y, float(height)))
        x, y = (g.Where(inside, place, 0.0) for place in (x, y))
        left, upper = g.Floor(x), g.Floor(y)
        right, lower = (g.Min(g.Add(one, 1.0), last - 1.0) for one, last in ((left, width), (upper, height)))
        across, down = g.Sub(x, left), g.Sub(y, upper)
        pixels = g.flat(images, 2, 4)

        def seen(row: Value, column: Value, weight: Value) -> Value:
            index = g.Add(g.Mul(g.Cast(row, to=INT64), width), g.Cast(column, to=INT64))
            index = g.Expand(g.reshape(index, (images.sizes[0], 1, height * width)), g.Shape(pixels))
            values = g.like(pixels, g.GatherElements(pixels, index, axis=2))
            part: Value = g.Mul(g.reshape(values, images.sizes), weight)
            return part

        corners = [
            seen(row, column, g.Mul(v, h))
            for row, v in ((upper, g.Sub(1.0, down)), (lower, down))
            for column, h in ((left, g.Sub(1.0, across)), (right, across))
        ]
        zero = self.param.flow_warp_param.fill_value == FlowWarpParameter.ZERO
        return [g.Where(inside, g.Sum(*corners), 0.0 if zero else nan)]

    def _rows(self, x: Array) -> Array:
        """Return the values of each pixel in a row."""
        num, channels, height, width = x.shape
        return self.ops.reshape(self.ops.transpose(x, (0, 2, 3, 1)), (num * height * width, channels))

    def _weights(self) -> list[Array]:
        across, down = self.saved.across, self.saved.down
        return [v * h for v in (1.0 - down, down) for h in (1.0 - across, across)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, saved, (num, channels, height, width) = self.ops, self.saved, bottom[0].shape
        dy = self._rows(ops.where(saved.inside[:, None], top[0].diff, 0.0))
        if propagate_down[0]:
            shares = ops.concat([dy * weight for weight in self._weights()], 0)
            dx = ops.sum_rows(shares, ops.concat(saved.corners, 0), num * height * width)
            bottom[0].diff = ops.transpose(ops.reshape(dx, (num, height, width, channels)), (0, 3, 1, 2))
        if propagate_down[1]:
            a, b, c, d = saved.values
            across = (1.0 - saved.down) * (b - a) + saved.down * (d - c)
            down = (1.0 - saved.across) * (c - a) + saved.across * (d - b)
            parts = [ops.reshape(ops.sum(dy * slope, 1), (num, 1, height, width)) for slope in (across, down)]
            bottom[1].diff = ops.concat(parts, 1)
