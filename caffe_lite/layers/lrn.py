"""LRN: local response normalisation, across channels or within each."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.windows import Windows, read_windows
from ..proto.caffe_pb2 import LayerParameter, LRNParameter, PoolingParameter
from .common.onnx_pooling import OnnxPooling


@register_layer("LRN")
class LRNLayer(Layer):
    """y = x s^-beta, with n = local_size and, according to norm_region,

    ACROSS_CHANNELS: s = k + alpha / n (sum of x^2 over the n channels around this one);
    WITHIN_CHANNEL:  s = 1 + alpha (mean of x^2 over the n x n square around this place); k is not used.
    The mean counts the padding as AVE pooling does: (n - 1) / 2 zeros around the image, and nothing beyond them.

    Bottom and top: (N, C, H, W).
    Reads ``lrn_param``: local_size (5; odd), alpha (1), beta (0.75), norm_region (ACROSS_CHANNELS), k (1). ``engine``
    is accepted and has no effect. With fuse_type FUSED_POOL_MAX, of naibaf7's Caffe, the top is the result of MAX
    pooling over y, as Pooling computes it from the pooling_param in lrn_param.
    Source: Krizhevsky, Sutskever and Hinton 2012; the original's lrn_layer.cpp.
    """

    kind = Kind.NORMALISATION
    formula = (
        r"y_c = x_c \left( k + \frac{\alpha}{n} \sum_{j = c - (n - 1) / 2}^{c + (n - 1) / 2} x_j^2 \right)^{-\beta}"
    )

    reads_fork_fields = ("LRNParameter.fuse_type", "LRNParameter.pooling_param")

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"over {param.lrn_param.local_size}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.lrn_param
        if p.local_size % 2 != 1:
            self.error(f"local_size is {p.local_size}", "it must be odd, so that it has a middle")
        self.size, self.alpha, self.beta = p.local_size, p.alpha, p.beta
        self.across = p.norm_region == LRNParameter.ACROSS_CHANNELS
        half = (self.size - 1) // 2
        self.square = ((self.size, self.size), (1, 1), (half, half))
        self.pool: Windows | None = None
        if p.fuse_type == LRNParameter.FUSED_POOL_MAX:
            if p.pooling_param.pool != PoolingParameter.MAX or p.pooling_param.global_pooling:
                self.error("its pooling_param is not plain MAX pooling", "use a Pooling layer after this one")
            self.pool = read_windows(p.pooling_param, 2)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "LRN needs 4: (N, C, H, W)")
        if self.pool is not None:
            self.pooled = self.pool.pooled(shape[2:], True)
            shape = (*shape[:2], *self.pooled)
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = x = bottom[0].data
        if self.across:
            self.saved.y, self.saved.scale = self.ops.lrn_across(
                x, self.size, self.alpha, self.beta, self.param.lrn_param.k
            )
        else:
            self.saved.scale = 1.0 + self.alpha * self.ops.ave_pool(x * x, *self.square, x.shape[2:])
            self.saved.y = x * self.saved.scale**-self.beta
        y = self.saved.y
        if self.pool is not None:
            w = self.pool
            y, self.saved.choice = self.ops.max_pool(y, w.kernel, w.stride, w.pad, self.pooled, w.dilation)
        top[0].data = y

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = bottom[0]
        if self.across:
            y = g.LRN(x, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.param.lrn_param.k)
        else:
            around = OnnxPooling(Windows(*self.square, (1, 1)), x.image, x.image)
            mean = around.mean(g, g.like(x, g.Mul(x, x)))
            y = g.Mul(x, g.Pow(g.Add(g.Mul(mean, self.alpha), 1.0), -self.beta))
        if self.pool is not None:
            y = OnnxPooling(self.pool, x.image, self.pooled).largest(g, g.like(x, y))
        return [y]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, x, y, scale = top[0].diff, self.saved.x, self.saved.y, self.saved.scale
        if self.pool is not None:
            w = self.pool
            dy = self.ops.max_pool_backward(dy, self.saved.choice, x.shape, w.kernel, w.stride, w.pad, w.dilation)
        if self.across:
            bottom[0].diff = self.ops.lrn_across_backward(dy, x, y, scale, self.size, self.alpha, self.beta)
        else:
            around = self.ops.ave_pool_backward(dy * y / scale, x.shape, *self.square)
            bottom[0].diff = dy * scale**-self.beta - (2.0 * self.alpha * self.beta) * x * around
