"""YoloSeg: squared differences of sigmoids from masks, with a weight for each class."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import register_layer
from .common.loss import LossLayer


@register_layer("YoloSeg")
class YoloSegLayer(LossLayer):
    """loss = 1/N (sum of d^2) with d = w (sigmoid(x) - t), for maps x of each class and masks t.

    w is object_scale; with a third bottom it is object_scale (2 - r) where the mask is above 0.5, with r the pixels of
    the class over those that are not of it, in the whole batch. Gradient: d / N; as in the original, it is not the
    derivative of the loss.
    Bottoms: the maps, (N, C, H, W); the masks, (N, C, H, W), from 0 to 1; optionally the number of pixels of each class
    in each image, (N, C), as from two Reductions of the masks. Top: ().
    Reads ``yolo_seg_param``: object_scale (5). num_class, class_scale, use_logic_gradient and use_hardsigmoid change
    nothing, as in the original.
    Source: yolo_seg.cpp of MobileNet-YOLO. Differences: a class that fills all images has the weight of r = 0 (the
    original divides by 0); the original also logs averages every 16 passes.
    """

    formula = r"L = \frac{1}{N} \sum d^2, \quad d = w (\sigma(x) - t), \quad \partial x = \frac{d}{N}"
    bottoms = (2, 3)

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or bottom[1].shape != shape:
            self.error(f"the maps {shape} and the masks {bottom[1].shape} differ", "give both as (N, C, H, W)")
        if len(bottom) > 2 and (bottom[2].shape[:2] != shape[:2] or prod(bottom[2].shape[2:]) != 1):
            self.error(f"the numbers of pixels have the shape {bottom[2].shape}", f"give {shape[:2]}")
        top[0].Reshape(())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, mask = self.ops, bottom[1].data
        samples, classes, height, width = bottom[0].shape
        scale = self.param.yolo_seg_param.object_scale
        d = (ops.sigmoid(bottom[0].data) - mask) * scale
        if len(bottom) > 2:
            pixels = self.total(ops.sum(ops.reshape(bottom[2].data, (samples, classes)), 0))
            others = self.total_size(samples) * height * width - pixels
            share = ops.where(others > 0, pixels / ops.at_least(others, 1.0), 0.0)
            d = ops.where(mask > 0.5, d * ops.along_channels(2 - share, 4), d)
        self.saved.d = d
        self.saved.divisor = self.sized_divisor(samples)
        top[0].data = ops.scalar(ops.sum(d * d) / self.saved.divisor)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.refuse_label_gradient(propagate_down)
        if propagate_down[0]:
            bottom[0].diff = self.saved.d * (top[0].diff / self.saved.divisor)
