"""ROIAlign: interpolated values in each region; two layers have this name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import FLOAT, OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common import onnx_regions
from .common.regions import RegionLayer, around, bins_of, pixels, weighted_sum, weighted_sum_backward


@register_layer("ROIAlign")
class ROIAlignLayer(RegionLayer):
    """The values of x at the corners of a grid over each region, or the largest of four samples in each of its bins.

    Bottoms: images (N, C, H, W); regions (R, 5), each n, x1, y1, x2, y2, in pixels of the network's input; they get no
    gradient. Top: (R, C, pooled_h + 1, pooled_w + 1), or with roi_align_param (R, C, pooled_h, pooled_w).
    Cascade R-CNN's: the values at the corners of pooled_h x pooled_w bins from x1 scale - 0.5 to x2 scale - 0.5, to be
    averaged by a Pooling layer. Between pixels x is linear in both directions, and more than half a pixel outside the
    image it is 0, as is all of a region without a width or height.
    Reads ``roi_pooling_param``: pooled_h, pooled_w, spatial_scale (1), pad_ratio (0: the part of its width and height
    by which a region is widened on each side).
    Synopsys': of each bin the first four pixels, row by row, are summed with four sets of weights, and the largest sum
    is y. A pixel's weight for the sample x, y (each -1/2 or 1/2) is (1 - |x - u|) (1 - |y - v|), where the pixel is at
    u, v if the region reaches from -1 to 1. An empty bin gives 0.
    Reads ``roi_align_param``: pooled_h, pooled_w, spatial_scale (1).
    A net with this layer cannot be compiled, because the values of the regions decide what it reads.
    Meanings: with ``roi_align_param`` it is Synopsys', without it Cascade R-CNN's.
    Source: He, Gkioxari, Dollár and Girshick 2017; roi_align_layer.cpp of Cascade R-CNN and of Synopsys. Differences:
    Cascade R-CNN's has its gradient on GPUs only; Synopsys' reads past the image's last row and column, which are left
    out here, and gives its gradient to the wrong image.
    """

    formula = r"y_{rcij} = x_{n_r c}\left(y_1 + i \tfrac{y_2 - y_1}{P},\ x_1 + j \tfrac{x_2 - x_1}{Q}\right)"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        of_bins = param.HasField("roi_align_param")
        p = param.roi_align_param if of_bins else param.roi_pooling_param
        return f"{p.pooled_h + (not of_bins)} x {p.pooled_w + (not of_bins)}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.of_bins = self.param.HasField("roi_align_param")
        if self.of_bins:
            self.meaning = "Synopsys' ROIAlign, because roi_align_param is given"
            self.scale = self.param.roi_align_param.spatial_scale
            self.bins = self.out = self.sizes(self.param.roi_align_param, "pooled_h", "pooled_w")
        else:
            self.meaning = "Cascade R-CNN's ROIAlign, because roi_align_param is not given"
            self.scale = self.param.roi_pooling_param.spatial_scale
            self.bins = self.sizes(self.param.roi_pooling_param, "pooled_h", "pooled_w")
            self.out = self.bins[0] + 1, self.bins[1] + 1

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        x = pixels(self.ops.host_view(bottom[0].data))
        if self.of_bins:
            rows, weights = self._samples(images, corners, x.shape)
            sums = np.stack([weighted_sum(x, rows, shares) for shares in weights])
            choice = sums.argmax(0)
            y, shares = sums.max(0), np.take_along_axis(weights, choice[None, None], 0)[0]
        else:
            rows, shares = self._corners(images, corners, x.shape)
            y = weighted_sum(x, rows, shares)
        self.saved.shape, self.saved.rows, self.saved.shares = x.shape, rows, shares
        top[0].data = self.ops.asarray(y.reshape(-1, *self.out, x.shape[3]).transpose(0, 3, 1, 2))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        number, *corners = onnx_regions.read(g, bottom[1])
        if self.of_bins:
            return [self._largest_sample(g, bottom[0], number, *(g.Mul(corner, self.scale) for corner in corners))]
        if ratio := self.param.roi_pooling_param.pad_ratio:
            pad = g.Mul(g.Add(g.Sub(corners[1], corners[0]), 1.0), ratio)
            corners = [g.Sub(corners[0], pad), g.Add(corners[1], pad)]
        start, end = (g.Sub(g.Mul(corner, self.scale), 0.5) for corner in corners)
        step = g.Div(g.Sub(end, start), np.array(self.bins[::-1], np.float32))
        y, x = (onnx_regions.along(g, start, step, axis, self.out[axis]) for axis in (0, 1))
        upright = g.Greater(g.reduce("ReduceMin", g.Sub(end, start), [1]), 0.0)
        return [onnx_regions.at_points(g, bottom[0], number, g.Where(upright, y, -1.0), x)]

    def _largest_sample(self, g: OnnxGraph, images: Value, number: Value, start: Value, end: Value) -> Value:
        """Write the largest of four weighted sums of the first four pixels of each bin."""
        (height, width), size = images.image, g.Sub(end, start)
        step = g.Div(g.Max(g.Add(size, 1.0), 1.0), np.array(self.bins[::-1], np.float32))
        (top, bottom), (left, right) = (
            _written_edges(g, start, step, axis, self.bins[axis], images.image[axis]) for axis in (0, 1)
        )
        columns = onnx_regions.across(g, g.Sub(right, left))
        order, stride = np.arange(4), g.Max(columns, 1)
        row, column = (
            g.Add(onnx_regions.down(g, top), g.Div(order, stride)),
            g.Add(onnx_regions.across(g, left), g.Mod(order, stride)),
        )
        there = g.And(g.Less(row, onnx_regions.down(g, bottom)), g.Greater(columns, 0))  # (R, P, Q, 4)
        place = g.Add(g.Mul(g.Add(g.Unsqueeze(g.Mul(number, height), [2, 3]), row), width), column)
        values = g.Gather(onnx_regions.pixels_in_rows(g, images), g.Where(there, place, 0), axis=0)
        weights = g.Cast(g.Unsqueeze(there, [3]), to=FLOAT)
        flat, length = g.Equal(size, 0.0), g.Where(g.Equal(size, 0.0), 1.0, size)
        for axis, at in enumerate((row, column)):
            first, extent, none = (g.Unsqueeze(onnx_regions.pair(g, x, axis), [2, 3]) for x in (start, length, flat))
            at = g.Sub(g.Div(g.Mul(g.Sub(g.Cast(at, to=FLOAT), first), 2.0), extent), 1.0)
            at = g.Unsqueeze(g.Where(none, 0.0, g.Clip(at, -1.0, 1.0)), [3])
            sample = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]][axis])[:, None]
            weights = g.Mul(weights, g.Relu(g.Sub(1.0, g.Abs(g.Sub(sample, at)))))  # (R, P, Q, samples, pixels)
        y: Value = g.Transpose(g.reduce("ReduceMax", g.MatMul(weights, values), [3], keepdims=False), perm=[0, 3, 1, 2])
        return y

    def image_gradient(self, dy: np.ndarray) -> np.ndarray:
        dy = pixels(dy).reshape(-1, dy.shape[1])
        dx = weighted_sum_backward(dy, self.saved.shape, self.saved.rows, self.saved.shares)
        return dx.transpose(0, 3, 1, 2)

    def _corners(self, images: np.ndarray, corners: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and shares of the pixels around the corners of bins."""
        kind = corners.dtype.type
        pad = (corners[:, 2:] - corners[:, :2] + 1) * kind(self.param.roi_pooling_param.pad_ratio)
        start, end = (at * kind(self.scale) - kind(0.5) for at in (corners[:, :2] - pad, corners[:, 2:] + pad))
        step = (end - start) / np.array(self.bins[::-1], corners.dtype)
        x, y = (start[:, i, None] + np.arange(self.out[1 - i], dtype=step.dtype) * step[:, i, None] for i in (0, 1))
        y[(end <= start).any(1)] = -1  # outside
        place = np.broadcast_arrays(images[:, None, None], y[:, :, None], x[:, None])
        points = around(shape, *(array.ravel() for array in place))
        return points.rows, points.shares

    def _samples(self, images: np.ndarray, corners: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows (4, B) of up to four pixels of each bin, and their weights (4, 4, B, 1) in the samples."""
        corners = corners * corners.dtype.type(self.scale)
        ends = [_edges(corners[:, 1 - i], corners[:, 3 - i], self.bins[i], shape[1 + i]) for i in (0, 1)]
        bins = bins_of(images, *ends)
        number = np.arange(4)[:, None]
        across = np.maximum(bins.width, 1)
        place = bins.top + number // across, bins.left + number % across
        there = (place[0] < bins.bottom) & ~bins.empty
        rows = np.where(there, (bins.image * shape[1] + place[0]) * shape[2] + place[1], 0)
        near = []
        for i in (0, 1):
            start, end = (np.repeat(corners[:, k - i], self.bins[0] * self.bins[1]) for k in (1, 3))
            length = np.where(end == start, 1, end - start)
            at = np.where(end == start, 0, (2 * (place[i] - start) / length - 1).clip(-1, 1))
            near.append([np.maximum(0, 1 - np.abs(sample - at)) for sample in (-0.5, 0.5)])
        weights = np.stack([there * across * down for across in near[1] for down in near[0]])
        return rows, weights[..., None].astype(corners.dtype)


def _edges(start: np.ndarray, end: np.ndarray, count: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel in each of ``count`` bins of each region along an axis, and the one behind the last."""
    step = np.maximum(end - start + 1, 1)[:, None] / start.dtype.type(count)
    at = np.arange(count + 1, dtype=start.dtype)
    low, high = ((edge * step + start[:, None]).clip(0, limit) for edge in (at[:-1], at[1:]))
    first, behind = np.ceil(low).astype(int), np.minimum(np.floor(high).astype(int) + 1, limit)
    return first, np.where(high <= low, first, behind)


def _written_edges(g: OnnxGraph, start: Value, step: Value, axis: int, count: int, limit: int) -> onnx_regions.Edges:
    """Write ``_edges``."""
    low, high = (g.Clip(onnx_regions.along(g, start, step, axis, count, first), 0.0, float(limit)) for first in (0, 1))
    first, behind = onnx_regions.whole(g, g.Ceil(low), limit), onnx_regions.whole(g, g.Add(g.Floor(high), 1.0), limit)
    return first, g.Where(g.LessOrEqual(high, low), first, behind)
