"""Pooling: one number for each window of an image."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.windows import Windows, by, read_windows, windows_text
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import LayerParameter, PoolingParameter
from .common.onnx_pooling import OnnxPooling


@register_layer("Pooling")
class PoolingLayer(Layer):
    """y = the largest element (MAX), the mean (AVE) or a randomly drawn element (STOCHASTIC) of each window.

    Bottom: (N, C, *image), an image of one axis or more. Top: (N, C, *out) with
    out = ceil((image + 2 pad - dilation (kernel - 1) - 1) / stride) + 1, or floor with round_mode FLOOR or, as Cascade
    R-CNN writes it, ceil_mode false; with padding, one less where the last window would start in the padding after the
    image.
    A second top of MAX pooling, the mask, holds the position of each window's largest element (the first of equals) in
    its plane, h W + w.
    Reads ``pooling_param``: pool (MAX), kernel_size (or kernel_h, kernel_w), stride (1) (or stride_h, stride_w),
    pad (0; only MAX and AVE) (or pad_h, pad_w), global_pooling (false: the kernel is the whole image), round_mode
    (CEIL), ceil_mode (true), dilation (1). As in naibaf7's Caffe, kernel_size, stride, pad and dilation may be given
    once for each axis; Intel's writes this kernel_size_3d, stride_3d and pad_3d. ``engine`` is accepted and has no
    effect.
    AVE counts the padding, but nothing beyond it. With avg_include_pad false (true), of Intel's Caffe, it counts the
    image alone; so do AVE_EXC_PAD and AVE_TF of Synopsys'. STOCHASTIC needs bottoms >= 0: in TRAIN it draws an element
    with probability x / sum(x); in TEST y = sum(x^2) / sum(x), the mean of such draws.
    A window that lies past the edge (stride > kernel) gives 0, mask -1 and no gradient; there the original's MAX writes
    outside its memory, and its AVE may divide by 0. The original has STOCHASTIC on GPUs only, and its gradient in TEST
    follows a draw that was never made; here it is the gradient of the formula.
    Source: Zeiler and Fergus 2013 (STOCHASTIC); the original's pooling_layer.cpp.
    """

    kind = Kind.POOLING
    formula = (
        r"y(i) = \max_{j \in \text{window}_i} x(j) "
        r"\quad \text{or} \quad \frac{1}{n_i} \sum_{j \in \text{window}_i} x(j)"
    )
    tops = (1, 2)
    reads_fork_fields = tuple(
        f"PoolingParameter.{field}"
        for field in (
            *("ceil_mode", "dilation", "kernel_size_3d", "stride_3d", "pad_3d", "avg_include_pad"),
            *("PoolMethod.AVE_EXC_PAD", "PoolMethod.AVE_TF"),
        )
    )

    @staticmethod
    def caption(param: LayerParameter) -> str:
        pooling = param.pooling_param
        method = PoolingParameter.PoolMethod.Name(pooling.pool)
        return f"{method}, global" if pooling.global_pooling else f"{method} {windows_text(pooling)}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.pooling_param
        method = PoolingParameter.PoolMethod.Name(p.pool)
        if len(top) > 1 and p.pool != PoolingParameter.MAX:
            self.error(f"{method} pooling has no mask for a second top", "remove that top, or use pool: MAX")
        self.averages = p.pool in (PoolingParameter.AVE, PoolingParameter.AVE_EXC_PAD, PoolingParameter.AVE_TF)
        self.includes_pad = p.pool == PoolingParameter.AVE and p.avg_include_pad
        self.windows: Windows | None = None
        if p.global_pooling:
            self._refuse_windows(p)
            return
        self.windows = read_windows(p, self._image_axes(bottom))
        kernel, pad = self.windows.kernel, self.windows.pad
        if any(pad) and p.pool == PoolingParameter.STOCHASTIC:
            self.error(f"{method} pooling takes no padding", "leave out pad, or use pool: MAX or pool: AVE")
        if any(edge >= size for edge, size in zip(pad, kernel, strict=True)):
            self.error(
                f"pad {by(pad)} is not smaller than the kernel {by(kernel)}",
                "a window must not lie in the padding alone",
            )

    def _refuse_windows(self, p: PoolingParameter) -> None:
        given = [f for f in ("kernel_size", "kernel_h", "kernel_w") if p.HasField(f)]
        given += [f for f in ("stride", "stride_h", "stride_w") if p.HasField(f) and getattr(p, f) != 1]
        given += [f for f in ("pad", "pad_h", "pad_w", "kernel_size_3d", "stride_3d", "pad_3d") if getattr(p, f)]
        if given:
            self.error(
                f"global_pooling is set together with {' and '.join(given)}",
                "its kernel is the whole image, its stride 1 and its pad 0: remove the one or the other",
            )

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axes = self._image_axes(bottom)
        windows = self.windows or Windows(shape[2:], (1,) * axes, (0,) * axes, (1,) * axes)
        if len(windows.kernel) != axes:
            self.error(f"the bottom now has {axes} axes of an image, the layer was made for {len(windows.kernel)}")
        p = self.param.pooling_param
        self.out = windows.pooled(shape[2:], p.round_mode == PoolingParameter.CEIL and p.ceil_mode)
        self.geometry = (windows.kernel, windows.stride, windows.pad)
        self.dilation = windows.dilation
        for blob in top:
            blob.Reshape((*shape[:2], *self.out))

    def _image_axes(self, bottom: Sequence[Blob]) -> int:
        shape = bottom[0].shape
        if len(shape) < 3:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "pooling needs 3 or more: (N, C, H, W)")
        return len(shape) - 2

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x, method = self.ops, bottom[0].data, self.param.pooling_param.pool
        self.saved.choice = None
        if method == PoolingParameter.MAX:
            y, self.saved.choice = ops.max_pool(x, *self.geometry, self.out, self.dilation)
            if len(top) > 1:
                top[1].data = ops.max_pool_index(self.saved.choice, x.shape, *self.geometry, self.dilation)
        elif self.averages:
            y = ops.ave_pool(x, *self.geometry, self.out, self.dilation)
            if not self.includes_pad:
                y = y / self._share_inside(x.shape[2:])
        elif self.phase == caffe_pb2.TRAIN:
            # In (0, 1], so that no element of probability 0 is drawn.
            thresholds = ops.drawn(lambda: 1.0 - self.rng.random(top[0].shape))
            y, self.saved.choice = ops.stochastic_pool(x, *self.geometry, self.out, thresholds, self.dilation)
        else:
            y = ops.weighted_pool(x, *self.geometry, self.out, self.dilation)
            self.saved.x, self.saved.y = x, y
        top[0].data = y

    def _share_inside(self, image: tuple[int, ...]) -> Array:
        """Return how much of each window lies in the image and not in the padding, for all windows in one plane."""
        share = self.ops.ave_pool(self.ops.full((1, 1, *image), 1.0), *self.geometry, self.out, self.dilation)
        return self.ops.at_least(share, 1e-37)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, method = bottom[0], self.param.pooling_param.pool
        if self.windows is None and (self.averages or (method == PoolingParameter.MAX and len(top) == 1)):
            return [g.GlobalAveragePool(x) if self.averages else g.GlobalMaxPool(x)]
        pooling = OnnxPooling(Windows(*self.geometry, self.dilation), x.image, self.out, self.includes_pad)
        if method == PoolingParameter.MAX:
            return pooling.largest_with_places(g, x) if len(top) > 1 else [pooling.largest(g, x)]
        if self.averages:
            return [pooling.mean(g, x)]
        mean = pooling.mean(g, x)
        return [g.Where(g.Greater(mean, 0.0), g.Div(pooling.mean(g, g.like(x, g.Mul(x, x))), mean), 0.0)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        ops, dy, shape, dilation = self.ops, top[0].diff, bottom[0].shape, self.dilation
        if self.saved.choice is not None:
            bottom[0].diff = ops.max_pool_backward(dy, self.saved.choice, shape, *self.geometry, dilation)
        elif self.averages:
            if not self.includes_pad:
                dy = dy / self._share_inside(shape[2:])
            bottom[0].diff = ops.ave_pool_backward(dy, shape, *self.geometry, dilation)
        else:
            # dy/dx = (2 x - y) / sum(x). The sizes of windows cancel between the mean and its gradient.
            mean = ops.ave_pool(self.saved.x, *self.geometry, self.out, dilation)
            share = ops.where(mean > 0, dy / ops.at_least(mean, 1e-37), ops.scalar(0))
            of_sum = ops.ave_pool_backward(share * self.saved.y, shape, *self.geometry, dilation)
            bottom[0].diff = 2.0 * self.saved.x * ops.ave_pool_backward(share, shape, *self.geometry, dilation) - of_sum
