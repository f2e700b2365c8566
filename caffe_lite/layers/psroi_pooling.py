"""PSROIPooling: the means in a grid of bins over each region, each bin over channels of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter
from .common import onnx_regions
from .common.regions import RegionLayer, bins_of, divide, group_means, group_means_backward, pixels, rounded


@register_layer("PSROIPooling")
class PSROIPoolingLayer(RegionLayer):
    """y[r, c, i, j] = the mean of x[n, (c G + i) G + j, h, w] over bin i, j of region r of image n; G is group_size.

    Bottoms: images (N, output_dim G G, H, W); regions (R, 5), each n, x1, y1, x2, y2, in pixels of the network's input;
    they get no gradient. Top: (R, output_dim, G, G).
    A region begins at round(x1) scale and ends at (round(x2) + 1) scale, and is at least 0.1 wide. The edges of its
    bins are rounded down where they begin and up where they end, so that neighbours may overlap; what lies outside the
    image is cut off. An empty bin gives 0 and no gradient.
    Reads ``psroi_pooling_param``: spatial_scale, output_dim, group_size.
    A net with this layer cannot be compiled, because the values of the regions decide what it reads.
    Source: Dai, Li, He and Sun 2016; psroi_pooling_layer.cu of R-FCN's Caffe. Differences: the original runs on GPUs
    only, and checks no image's number; where an image is infinite or NaN at a pixel, so may be the bins below and to
    the right of it.
    """

    formula = r"y_{rcij} = \frac{1}{|\text{bin}_{rij}|} \sum_{(h, w) \in \text{bin}_{rij}} x_{n_r, (cG + i)G + j, h, w}"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        size = param.psroi_pooling_param.group_size
        return f"{size} x {size} → {param.psroi_pooling_param.output_dim}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.psroi_pooling_param
        self.sizes(p, "output_dim", "group_size")
        if p.spatial_scale <= 0:
            self.error(
                f"spatial_scale is {p.spatial_scale:g}",
                "give the size of the bottom relative to the network's input, as in spatial_scale: 0.0625",
            )
        self.out = p.group_size, p.group_size
        self.scale = p.spatial_scale

    def channels(self, channels: int) -> int:
        p = self.param.psroi_pooling_param
        needed = p.output_dim * p.group_size**2
        if channels != needed:
            self.error(
                f"the first bottom has {channels} channels",
                f"output_dim {p.output_dim} and group_size {p.group_size} need {p.output_dim} x {p.group_size} x "
                f"{p.group_size} = {needed}",
            )
        return p.output_dim

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        x = self.ops.host_view(bottom[0].data)
        scale = corners.dtype.type(self.scale)
        start, end = rounded(corners[:, :2]) * scale, (rounded(corners[:, 2:]) + 1) * scale
        size = np.maximum(end - start, corners.dtype.type(0.1))
        columns, rows = (divide(size[:, i], self.out[0], x.shape[3 - i], start=start[:, i]) for i in (0, 1))
        bins = self.saved.bins = bins_of(images, rows, columns)
        groups = self.out[0] ** 2
        self.saved.shape, self.saved.group = x.shape, np.tile(np.arange(groups), len(images))
        y = group_means(x, bins, self.saved.group, groups).reshape(len(images), *self.out, top[0].shape[1])
        top[0].data = self.ops.asarray(y.transpose(0, 3, 1, 2))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        number, first, last = onnx_regions.read(g, bottom[1])
        start = g.Mul(onnx_regions.rounded(g, first), self.scale)
        end = g.Mul(g.Add(onnx_regions.rounded(g, last), 1.0), self.scale)
        side = self.out[0]
        step = g.Div(g.Max(g.Sub(end, start), 0.1), float(side))
        rows, columns = (onnx_regions.edges(g, start, step, axis, side, bottom[0].image[axis]) for axis in (0, 1))
        return [onnx_regions.bin_means(g, bottom[0], number, rows, columns, side)]

    def image_gradient(self, dy: np.ndarray) -> np.ndarray:
        dy = pixels(dy).reshape(-1, dy.shape[1])
        return group_means_backward(dy, self.saved.shape, self.saved.bins, self.saved.group, self.out[0] ** 2)
