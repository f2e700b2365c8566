"""Upsample: enlarges images, by the mask of a pooling or by repeating pixels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from .common.indices import row_indices

_SEGNET = ("scale_h", "scale_w", "pad_out_h", "pad_out_w", "upsample_h", "upsample_w")


@register_layer("Upsample")
class UpsampleLayer(Layer):
    """y(mask(i)) = x(i) in each plane, and 0 elsewhere; or, without a mask, each pixel becomes a square of equal ones.

    Bottoms: x, (N, C, H, W); SegNet: the mask, of the same shape, which is the second top of a Pooling layer. For each
    element it has the index h W' + w in its plane of the top. Top: (N, C, H', W'). If several elements have the same
    index, the last of them counts, and each gets the gradient.
    SegNet's H' and W' are upsample_h and upsample_w or, without them, scale_h H - pad_out_h and scale_w W - pad_out_w.
    Meanings: with two bottoms it is SegNet's (also ENet's), with one it is that of MobileNet-YOLO and darknet2caffe.
    Reads ``upsample_param``: scale (2 with a mask, 1 without). With a mask also scale_h and scale_w (instead of scale),
    pad_out_h (false) and pad_out_w (false), which need a scale of 2, and upsample_h and upsample_w (instead of all).
    Source: Badrinarayanan, Kendall and Cipolla 2015; upsample_layer.cpp of SegNet's Caffe and of MobileNet-YOLO's.
    Differences: the size follows the bottom's if that changes (SegNet's keeps the first one); an index outside the top
    is always an error (SegNet's GPU code writes outside its memory); a scale of 1 is allowed with a mask, too.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{\text{mask}(i)} = x_i \quad \text{or} \quad y_{hw} = x_{\lfloor h / s \rfloor \lfloor w / s \rfloor}"
    bottoms = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.upsample_param
        self.out: tuple[int, int] | None = None
        if len(bottom) == 1:
            self.meaning = "MobileNet-YOLO's Upsample, because it has one bottom"
            given = [name for name in _SEGNET if p.HasField(name)]
            if given:
                self.error(
                    f"{given[0]} is given, and there is no mask",
                    "give the mask as second bottom; without one, pixels are repeated, and scale is all that counts",
                )
            self.set_factor(p.scale if p.HasField("scale") else 1)
            return
        self.meaning = "SegNet's Upsample, because it has two bottoms"
        if p.HasField("upsample_h") != p.HasField("upsample_w") or p.HasField("scale_h") != p.HasField("scale_w"):
            self.error("of height and width one is given", "give upsample_h and upsample_w, or scale_h and scale_w")
        if p.HasField("upsample_h"):
            self.out = p.upsample_h, p.upsample_w
            return
        if p.HasField("scale") and p.HasField("scale_h"):
            self.error("both scale and scale_h are given", "keep one of them")
        scale = p.scale if p.HasField("scale") else 2
        self.set_factor(*((p.scale_h, p.scale_w) if p.HasField("scale_h") else (scale, scale)))
        self.pad_out = int(p.pad_out_h), int(p.pad_out_w)
        for axis, factor, pad_out in zip("hw", self.factor, self.pad_out, strict=True):
            if pad_out and factor != 2:
                self.error(f"pad_out_{axis} is set, and the scale is {factor}", "it needs a scale of 2: use upsample_h")

    def set_factor(self, height: int, width: int | None = None) -> None:
        self.factor = height, height if width is None else width
        if min(self.factor) < 1:
            self.error(f"the scale is {min(self.factor)}", "use 1 or more")

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "upsampling needs 4: (N, C, H, W)")
        out = self.out or (shape[2] * self.factor[0], shape[3] * self.factor[1])
        if len(bottom) > 1:
            if bottom[1].shape != shape:
                self.error(f"the mask's shape {bottom[1].shape} is not the bottom's, {shape}", "pool to that shape")
            if self.out is None:
                out = out[0] - self.pad_out[0], out[1] - self.pad_out[1]
        self.top_image = out
        top[0].Reshape((*shape[:2], *out))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x, out = self.ops, bottom[0].data, top[0].shape[2:]
        if len(bottom) == 1:
            top[0].data = ops.repeat_pixels(x, self.factor)
            return
        hint = "give Upsample the size of the bottom of the Pooling layer that the mask is of"
        index = row_indices(self, bottom[1], out[0] * out[1], f"pixels of the top, {out[0]} x {out[1]}", hint)
        self.saved.index = ops.reshape(index, x.shape)
        top[0].data = ops.max_unpool(x, self.saved.index, out)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if len(bottom) == 1:
            floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return [bottom[0] if self.factor == (1, 1) else g.resize(bottom[0], top[0].image, mode="nearest", **floor)]
        x, mask = (g.flat(value, 2, 4) for value in bottom)
        h, w = top[0].image
        nothing = g.Expand(0.0, g.sizes(x, (*top[0].sizes[:2], h * w)))
        y = g.ScatterElements(nothing, g.Cast(mask, to=INT64), x, axis=2)
        return [g.reshape(y, top[0].sizes)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return rng.integers(0, prod(self.top_image), shape) if index else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        if len(bottom) == 1:
            bottom[0].diff = self.ops.repeat_pixels_backward(top[0].diff, self.factor)
        else:
            bottom[0].diff = self.ops.max_unpool_backward(top[0].diff, self.saved.index)
