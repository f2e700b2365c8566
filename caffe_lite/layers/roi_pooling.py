"""ROIPooling: the largest values in a grid of bins over each region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common.regions import RegionLayer, bins_of, divide, maxima, pixels, rounded, to_largest


@register_layer("ROIPooling")
class ROIPoolingLayer(RegionLayer):
    """y[r, c, i, j] = the largest x[n, c, h, w] in bin i, j of region r of image n.

    Bottoms: images (N, C, H, W); regions (R, 5), each n, x1, y1, x2, y2, in pixels of the network's input; they get no
    gradient. Top: (R, C, pooled_h, pooled_w).
    A region's corners are multiplied by the scale and rounded to the nearest pixel (halves away from 0); it is
    x2 - x1 + 1 wide and at least 1. Bin i of P begins at floor(i size / P) and ends before ceil((i + 1) size / P), so
    that neighbours may overlap; what lies outside the image is cut off. An empty bin gives 0 and no gradient.
    Reads ``roi_pooling_param``: pooled_h, pooled_w, or instead of them pooled_size, one for both or one for each;
    spatial_scale (1), pad_ratio (0: the part of its width and height by which a region is widened on each side).
    A net with this layer cannot be compiled, because the values of the regions decide what it reads.
    Source: Girshick 2015; roi_pooling_layer.cpp of py-faster-rcnn's Caffe; pooled_size is Intel's, pad_ratio
    Cascade R-CNN's. Differences: the original has the gradient on GPUs only, and neither checks an image's number
    there; a NaN in a bin spreads. Negative halves are rounded up in happynear's Caffe.
    """

    formula = r"y_{rcij} = \max_{(h, w) \in \text{bin}_{rij}} x_{n_r c h w}"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.roi_pooling_param
        height, width = [*p.pooled_size, *p.pooled_size][:2] if p.pooled_size else (p.pooled_h, p.pooled_w)
        return f"{height} x {width}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.roi_pooling_param
        self.scale = p.spatial_scale
        self.out = self._pooled_size(list(p.pooled_size)) if p.pooled_size else self.sizes(p, "pooled_h", "pooled_w")

    def _pooled_size(self, sizes: list[int]) -> tuple[int, int]:
        if len(sizes) > 2 or min(sizes) < 1:
            self.error(f"pooled_size is {sizes}", "give one for height and width, or one for each, at least 1")
        return sizes[0], sizes[-1]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        x = pixels(self.ops.host_view(bottom[0].data))
        pad = (corners[:, 2:] - corners[:, :2] + 1) * corners.dtype.type(self.param.roi_pooling_param.pad_ratio)
        scale = corners.dtype.type(self.scale)
        start, end = rounded((corners[:, :2] - pad) * scale), rounded((corners[:, 2:] + pad) * scale)
        size = np.maximum(end - start + 1, 1)
        columns, rows = (divide(size[:, i], self.out[1 - i], x.shape[2 - i], offset=start[:, i]) for i in (0, 1))
        bins = bins_of(images, rows, columns)
        y = maxima(x, bins)
        self.saved.x, self.saved.y, self.saved.bins = x, y, bins
        top[0].data = self.ops.asarray(y.reshape(-1, *self.out, x.shape[3]).transpose(0, 3, 1, 2))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        regions = g.reshape(bottom[1], (bottom[1].sizes[0], 5))
        if ratio := self.param.roi_pooling_param.pad_ratio:
            number, start, end = (g.slice(regions, [i], [j], [1]) for i, j in ((0, 1), (1, 3), (3, 5)))
            pad = g.Mul(g.Add(g.Sub(end, start), 1.0), ratio)
            regions = g.Concat(number, g.Sub(start, pad), g.Add(end, pad), axis=1)
        return [g.MaxRoiPool(bottom[0], regions, pooled_shape=list(self.out), spatial_scale=self.scale)]

    def image_gradient(self, dy: np.ndarray) -> np.ndarray:
        y = self.saved.y
        dx = to_largest(pixels(dy).reshape(y.shape), self.saved.x, y, self.saved.bins)
        return dx.transpose(0, 3, 1, 2)
