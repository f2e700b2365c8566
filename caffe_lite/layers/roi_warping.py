"""ROIWarping: the values at a grid of points over each region, with a gradient for the regions, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common import onnx_regions
from .common.regions import RegionLayer, around, pixels, rounded, weighted_sum, weighted_sum_backward


@register_layer("ROIWarping")
class ROIWarpingLayer(RegionLayer):
    """y[r, c, i, j] = x[n, c] at the point a height of i and a width of j bins from the corner of region r of image n.

    Bottoms: images (N, C, H, W); regions (R, 5), each n, x1, y1, x2, y2, in pixels of the network's input. Top:
    (R, C, pooled_h, pooled_w).
    A region's corners are multiplied by the scale and rounded to the nearest pixel (halves away from 0). Between
    pixels x is linear in both directions, and more than half a pixel outside the image it is 0.
    Both bottoms get gradients; that of the corners is computed as if they were not rounded.
    Reads ``roi_warping_param``: pooled_h, pooled_w, spatial_scale (1).
    A net with this layer cannot be compiled, because the values of the regions decide what it reads.
    Source: Dai, He and Sun 2016; roi_warping_layer.cu of MNC's Caffe. Differences: the original runs on GPUs only, and
    checks no image's number; in its gradient of the corners a region is one pixel larger than in its forward pass, and
    points at the lower and right edges of the image count for nothing.
    """

    formula = r"y_{rcij} = x_{n_r c}\left(y_1 + i \tfrac{y_2 - y_1}{P},\ x_1 + j \tfrac{x_2 - x_1}{Q}\right)"
    not_differentiable: ClassVar[tuple[int, ...]] = ()

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.roi_warping_param.pooled_h} x {param.roi_warping_param.pooled_w}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.out = self.sizes(self.param.roi_warping_param, "pooled_h", "pooled_w")
        self.scale = self.param.roi_warping_param.spatial_scale

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        x = pixels(self.ops.host_view(bottom[0].data))
        corners = rounded(corners * corners.dtype.type(self.scale))
        size = corners[:, 2:] - corners[:, :2]
        down, across = (np.arange(n, dtype=x.dtype) for n in self.out)
        step = np.maximum(size, 0) / np.array(self.out[::-1], x.dtype)
        y = (corners[:, 1:2] + down * step[:, 1:])[:, :, None]
        place = np.broadcast_arrays(images[:, None, None], y, (corners[:, :1] + across * step[:, :1])[:, None])
        points = around(x.shape, *(array.ravel() for array in place))
        self.saved.x, self.saved.points, self.saved.upright = x, points, size > 0
        values = weighted_sum(x, points.rows, points.shares).reshape(-1, *self.out, x.shape[3])
        top[0].data = self.ops.asarray(values.transpose(0, 3, 1, 2))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        number, *corners = onnx_regions.read(g, bottom[1])
        start, end = (onnx_regions.rounded(g, g.Mul(corner, self.scale)) for corner in corners)
        step = g.Div(g.Max(g.Sub(end, start), 0.0), np.array(self.out[::-1], np.float32))
        y, x = (onnx_regions.along(g, start, step, axis, self.out[axis]) for axis in (0, 1))
        return [onnx_regions.at_points(g, bottom[0], number, y, x)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        x, points = self.saved.x, self.saved.points
        dy = pixels(self.ops.host_view(top[0].diff)).reshape(-1, x.shape[3])
        if propagate_down[0]:
            dx = weighted_sum_backward(dy, x.shape, points.rows, points.shares)
            bottom[0].diff = self.ops.asarray(dx.transpose(0, 3, 1, 2))
        if propagate_down[1]:
            regions = np.zeros((bottom[1].shape[0], 5), x.dtype)
            for axis, shares in enumerate((points.along_y, points.along_x)):
                slopes = (weighted_sum(x, points.rows, shares) * dy).sum(1).reshape(-1, *self.out).sum(2 - axis)
                end = slopes @ (np.arange(self.out[axis], dtype=x.dtype) / self.out[axis])
                end *= self.saved.upright[:, 1 - axis]
                regions[:, 2 - axis], regions[:, 4 - axis] = slopes.sum(1) - end, end
            regions *= x.dtype.type(self.scale)
            bottom[1].diff = self.ops.asarray(regions.reshape(bottom[1].shape))
