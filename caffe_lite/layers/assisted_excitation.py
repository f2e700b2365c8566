"""AssistedExcitation: activations that are raised inside the true boxes, less and less as training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, inf, pi, prod

import numpy as np

from ..blobs import Blob
from ..data.boxes import corners
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import TRAIN
from .common.yolo import check_truth, read_truth

_UNTIL = 0.75  # of the training, activations are raised
_OVER = 0.95  # how much of a place a box must cover at its right and lower end


@register_layer("AssistedExcitation")
class AssistedExcitationLayer(Layer):
    """y = x + alpha m at places inside a true box, y = x elsewhere and in the TEST phase.

    alpha = cos(pi/2 t / 0.75) falls from 1 to 0 while t, the part of the solver's max_iter that has passed, grows to
    0.75; then it is 0. Without a solver it is 1. Gradient: that of y, for x; none for m, as in the original.
    Bottoms: x, (N, C, H, W); the true boxes, as for Yolov3; m, (N, H, W) or (N, 1, H, W), as from a Reduction of x to
    the mean of its channels. Top: (N, C, H, W).
    A net with this layer cannot be compiled, because it reads boxes on the host.
    Source: Derakhshani et al. 2019 (Assisted Excitation of Activations); assisted_excitation_layer.cpp of
    MobileNet-YOLO. Differences: every image is raised (the original raises the first of a batch only); nothing is
    raised in the TEST phase (the original's alpha is undefined there).
    """

    kind = Kind.DETECTION
    formula = r"y = x + \cos\left(\frac{\pi}{2} \frac{t}{0.75}\right) m"
    bottoms = (3, 3)
    not_differentiable = (1, 2)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, mean = bottom[0].shape, bottom[2].shape
        if len(shape) != 4:
            self.error(f"the first bottom has the shape {shape}", "give (N, C, H, W)")
        if mean[:1] != shape[:1] or mean[-2:] != shape[2:] or prod(mean[1:-2]) != 1 or len(mean) < 3:
            self.error(f"the third bottom has the shape {mean}", f"give {(shape[0], *shape[2:])}, one value per place")
        check_truth(self, bottom[1], shape[0])
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        if self.phase != TRAIN or self.progress >= _UNTIL:
            top[0].data = ops.copy(x)
            return
        samples, _, height, width = bottom[0].shape
        truth = read_truth(self, bottom[1].shape, ops.host_view(bottom[1].data), samples, inf)
        edges = corners(truth.box) * np.array([width, height] * 2, truth.box.dtype)
        low = np.clip(np.trunc(edges[:, :2]), 0, [width - 1, height - 1]).astype(int)
        high = np.clip(np.trunc(edges[:, 2:] + _OVER), low + 1, [width, height]).astype(int)
        alpha = cos(pi / 2 * self.progress / _UNTIL)
        inside = np.zeros((samples, 1, height, width), edges.dtype)
        for image, (left, upper), (right, lower) in zip(truth.image, low, high, strict=True):
            inside[image, 0, upper:lower, left:right] = alpha
        mean = ops.reshape(bottom[2].data, inside.shape)
        top[0].data = x + mean * ops.asarray(inside)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down[1:]):
            self.error(
                "a gradient is asked for the true boxes or the means, and there is none",
                "give the layer propagate_down: three times, true, false, false",
            )
        if propagate_down[0]:
            bottom[0].diff = top[0].diff
