"""SPP: spatial pyramid pooling, the same number of values from an image of any size."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import LayerParameter, PoolingParameter, SPPParameter
from .pooling import PoolingLayer


@register_layer("SPP")
class SPPLayer(Layer):
    """The image pooled into 1, 2 x 2, 4 x 4, ... bins, one level after another, with all bins in a row.

    Bottom: (N, C, H, W). Top: (N, C (1 + 4 + 16 + ...)), the bins of each level channel by channel; with a single level
    (N, C, 1, 1).
    At the level of n x n bins, kernel and stride are ceil(size / n), and the padding on each side is half of the pixels
    that n full bins would lack, rounded up. Reads ``spp_param``: pyramid_height, pool (MAX). ``engine`` is accepted and
    has no effect.
    If a bin would hold nothing but padding, the pyramid is too high for the image: an error, as in the original.
    Source: He, Zhang, Ren and Sun 2014; the original's spp_layer.cpp.
    """

    kind = Kind.POOLING
    formula = r"y = [\, \text{pool}_{1 \times 1}(x), \text{pool}_{2 \times 2}(x), \text{pool}_{4 \times 4}(x), \ldots ]"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.x_shape: tuple[int, ...] = ()
        self.height = self.param.spp_param.pyramid_height
        if self.height < 1:
            self.error(f"pyramid_height is {self.height}", "give spp_param a pyramid_height of at least 1")

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(
                f"the bottom's shape {shape} has {len(shape)} axes", "spatial pyramid pooling needs 4: (N, C, H, W)"
            )
        if shape != self.x_shape:
            self.x_shape = shape
            self.levels = [self._pooling(2**level, bottom) for level in range(self.height)]
        bins = sum(4**level for level in range(self.height))
        top[0].Reshape((*shape[:2], 1, 1) if self.height == 1 else (shape[0], shape[1] * bins))

    def _pooling(self, bins: int, bottom: Sequence[Blob]) -> PoolingLayer:
        height, width = bottom[0].shape[2:]
        method = SPPParameter.PoolMethod.Name(self.param.spp_param.pool)
        param = LayerParameter(name=self.name, type="Pooling", pooling_param=PoolingParameter(pool=method))
        for axis, size in (("h", height), ("w", width)):
            kernel = -(-size // bins)
            pad = (kernel * bins - size + 1) // 2
            if pad >= kernel:
                self.error(
                    f"a level of {bins} x {bins} bins does not fit an image of {height} x {width}",
                    "use a smaller pyramid_height, or larger images",
                )
            if pad and method == "STOCHASTIC":
                self.error(
                    f"an image of {height} x {width} needs padding for {bins} x {bins} bins, and STOCHASTIC pooling "
                    "takes none",
                    f"use images whose height and width are multiples of {2 ** (self.height - 1)}, or another pool",
                )
            for name, value in (("kernel", kernel), ("stride", kernel), ("pad", pad)):
                setattr(param.pooling_param, f"{name}_{axis}", value)
        pooling = PoolingLayer(param, self.ops, self.phase, self.rng, self.where)
        pooling.Setup(bottom, [])
        pooling.Reshape(bottom, [])
        return pooling

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows = []
        for level, pooling in enumerate(self.levels):
            bins = self._bins(level)
            pooling.Forward(bottom, [bins])
            rows.append(self.ops.reshape(bins.data, (bins.shape[0], prod(bins.shape[1:]))))
        top[0].data = self.ops.reshape(self.ops.concat(rows, 1), top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = bottom[0]
        rows = []
        for level, pooling in enumerate(self.levels):
            bins = Value("", (*x.sizes[:2], 2**level, 2**level))
            (pooled,) = pooling.to_onnx(g, bottom, [bins])
            rows.append(g.flat(g.like(bins, pooled), 1, 4))
        y = g.Concat(*rows, axis=1) if len(rows) > 1 else rows[0]
        return [g.reshape(y, top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        n, channels = self.x_shape[:2]
        rows, start = self.ops.reshape(top[0].diff, (n, prod(top[0].shape[1:]))), 0
        dx = self.ops.scalar(0)
        for level, pooling in enumerate(self.levels):
            bins, image = self._bins(level), Blob(self.ops, self.x_shape)
            end = start + channels * 4**level
            bins.diff = self.ops.reshape(rows[:, start:end], bins.shape)
            pooling.Backward([bins], [True], [image])
            dx, start = dx + image.diff, end
        bottom[0].diff = dx

    def _bins(self, level: int) -> Blob:
        return Blob(self.ops, (*self.x_shape[:2], 2**level, 2**level))
