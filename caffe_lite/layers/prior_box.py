"""PriorBox: the boxes around each place of a map, against which detections are encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np

from ..blobs import Blob
from ..data.boxes import clip
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import PriorBoxParameter


@register_layer("PriorBox")
class PriorBoxLayer(Layer):
    """Boxes of several sizes around the centre ((w + offset) step_w, (h + offset) step_h) of each place of a map.

    For each min_size there are: a square of that size; if max_size is given, a square of size
    sqrt(min_size max_size); and for each aspect ratio r, except 1, a box min_size sqrt(r) wide and min_size / sqrt(r)
    high. A ratio given twice counts once. As in the original, the fractions of min_size and max_size are dropped.
    Bottoms: the map, (N, C, H, W); the image, (N, C, image height, image width); only their sizes matter. Top:
    (1, 2, H W K 4) for K boxes at each place: x1, y1, x2, y2 as fractions of the image, then their variances.
    Reads ``prior_box_param``: min_size, max_size (none, or one for each min_size), aspect_ratio, flip (true: 1 / r
    follows each ratio r), clip (false; true: into the image), variance (0.1; or four), img_size (or img_h, img_w; the
    second bottom's), step (or step_h, step_w; the image's size over the map's), offset (0.5), reduce_boxes (false;
    true: the first square is half as large). There is no gradient.
    synopsys' faceboxes, box_width, box_height, tf, yx_order and keras are refused.
    Source: Liu et al. 2016; prior_box_layer.cpp of SSD's Caffe, and chuanqi305's (reduce_boxes).
    """

    kind = Kind.DETECTION
    formula = r"\left( \frac{c_x \mp w_k / 2}{W_{\text{image}}}, \frac{c_y \mp h_k / 2}{H_{\text{image}}} \right)"
    bottoms = (2, 2)
    not_differentiable = (0, 1)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.prior_box_param
        self.sizes = np.array(self._sizes(p, int), np.float32)
        self.variances = list(p.variance) or [0.1]
        if len(self.variances) not in (1, 4) or min(self.variances) <= 0:
            self.error(f"variance is {_listed(self.variances)}", "give one or four numbers above 0")
        self.image = self._pair(p, "img_size", "img_h", "img_w")
        self.step = self._pair(p, "step", "step_h", "step_w")

    def keep_fractions(self) -> None:
        """Keep the fractions of min_size and max_size, as OpenCV does."""
        self.sizes = np.array(self._sizes(self.param.prior_box_param, float), np.float32)

    def _sizes(self, p: PriorBoxParameter, pixels: Callable[[float], float]) -> list[tuple[float, float]]:
        """Return the widths and heights of the boxes at each place, in pixels."""
        for field in ("faceboxes", "box_width", "box_height", "tf", "yx_order", "keras"):
            if getattr(p, field):
                self.error(f"{field} is set, a field of synopsys' Caffe", "only SSD's boxes are known: remove it")
        least, most = ([pixels(size) for size in sizes] for sizes in (p.min_size, p.max_size))
        if not least or min(least) < 1:
            self.error(f"min_size is {_listed(p.min_size) or 'not given'}", "give one or more sizes of 1 pixel or more")
        if most and (len(most) != len(least) or any(a >= b for a, b in zip(p.min_size, p.max_size, strict=True))):
            self.error(
                f"max_size is {_listed(p.max_size)}, and min_size {_listed(p.min_size)}",
                "give a larger max_size for each min_size, or none",
            )
        ratios = self._ratios(p)
        sizes = []
        for i, size in enumerate(least):
            sides = [size / 2 if p.reduce_boxes else size, *(sqrt(size * larger) for larger in most[i : i + 1])]
            sizes += [(side, side) for side in sides]
            sizes += [(size * sqrt(ratio), size / sqrt(ratio)) for ratio in ratios]
        return sizes

    def _ratios(self, p: PriorBoxParameter) -> list[float]:
        """Return the aspect ratios other than 1."""
        ratios = [1.0]
        for ratio in p.aspect_ratio:
            if ratio <= 0:
                self.error(f"aspect_ratio is {ratio:g}", "give numbers above 0")
            if all(abs(ratio - known) >= 1e-6 for known in ratios):
                ratios += [ratio, 1 / ratio] if p.flip else [ratio]
        return ratios[1:]

    def _pair(self, p: PriorBoxParameter, both: str, height: str, width: str) -> tuple[float, float] | None:
        """Return the height and width that are given by one field or by two, or None."""
        given = [field for field in (both, height, width) if p.HasField(field)]
        if not given:
            return None
        if given not in ([both], [height, width]):
            self.error(
                f"of {both}, {height} and {width} it has {' and '.join(given)}", f"give {both}, or the other two"
            )
        values = [getattr(p, field) for field in given]
        if min(values) <= 0:
            self.error(f"{' and '.join(given)} is {_listed(values)}", "give numbers above 0")
        return values[0], values[-1]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, name in zip(bottom, ("map", "image"), strict=True):
            if blob.num_axes != 4:
                self.error(f"the {name}'s shape {blob.shape} has {blob.num_axes} axes", "it needs 4: (N, C, H, W)")
        self.map = bottom[0].shape[2:]
        self.image_size = self.image or bottom[1].shape[2:]
        if not self.image_size[0] * self.image_size[1]:
            self.error(f"the image's shape {bottom[1].shape} has no pixels", "give an image, or img_size")
        top[0].Reshape((1, 2, self.map[0] * self.map[1] * len(self.sizes) * 4))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.ops.asarray(self._priors())

    def _priors(self) -> np.ndarray:
        """Return the boxes and their variances, as the top holds them."""
        step = self.step or [size / max(1, cells) for size, cells in zip(self.image_size, self.map, strict=True)]
        offset = np.float32(self.param.prior_box_param.offset)
        y, x = ((np.arange(n, dtype="f") + offset) * np.float32(s) for n, s in zip(self.map, step, strict=True))
        centres = np.stack(np.meshgrid(x, y), -1)[:, :, None].astype(float)
        halves = self.sizes / 2.0
        image = np.array(self.image_size[::-1] * 2, float)
        boxes = np.concatenate([centres - halves, centres + halves], -1) / image
        if self.param.prior_box_param.clip:
            boxes = clip(boxes)
        return np.stack([boxes, np.broadcast_to(self.variances, boxes.shape)]).reshape(1, 2, -1)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.constant(self._priors(), "priors")]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error("the boxes have no gradient", "set propagate_down: false for both bottoms")


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
