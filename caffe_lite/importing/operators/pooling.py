"""Pooling: ONNX rounds sizes down or up, pads each side by itself and counts the padding or not; Caffe has one rule."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..formulas import reshaped, scaled, taken
from ..graph import Node, Shape
from ..writer import CannotSay, Writer, spells
from .products import geometry, paddings

Ints = Sequence[int]


@spells("GlobalAveragePool", "GlobalMaxPool", uses=["Pooling", "Reshape", "Flatten"])
def whole_image(w: Writer, node: Node) -> str:
    return pooled_whole(w, w.blob(node.inputs[0]), "AVE" if "Average" in node.operator else "MAX")


def pooled_whole(w: Writer, x: str, method: str) -> str:
    """Write the mean (AVE) or largest value (MAX) of every image of a blob (N, C, ...)."""
    n, c, *image = w.shapes[x]
    if len(image) != 2:
        x = reshaped(w, x, (n, c, prod(image), 1))
    made = w.add("Pooling", [x], (n, c, 1, 1), pooling_param={"pool": method, "global_pooling": True})
    return reshaped(w, made, (n, c, *[1] * len(image)))


@spells("MaxRoiPool", uses=["ROIPooling"])
def regions(w: Writer, node: Node) -> str:
    height, width = node.attributes["pooled_shape"]
    param = {"pooled_h": height, "pooled_w": width, "spatial_scale": node.attributes.get("spatial_scale", 1.0)}
    bottoms = [w.blob(name) for name in node.inputs]
    return w.add("ROIPooling", bottoms, w.shape(node.outputs[0]), roi_pooling_param=param)


class _Windows:
    """The windows of a pooling node along the axes of an image."""

    def __init__(self, w: Writer, node: Node) -> None:
        self.method = "MAX" if node.operator == "MaxPool" else "AVE"
        self.image = w.shapes[w.blob(node.inputs[0])][2:]
        self.out = w.shape(node.outputs[0])[2:]
        self.kernel = list(node.attributes["kernel_shape"])
        self.stride, self.dilation = geometry(node, self.kernel)
        self.before, self.after = paddings(node, self.kernel, self.stride, self.dilation, self.image)
        self.counts_padding = bool(node.attributes.get("count_include_pad", 0))

    def extent(self, axis: int) -> int:
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def counted(self, axis: int) -> np.ndarray:
        """Return how many places of each window the mean counts along an axis."""
        first = -self.before[axis] + self.stride[axis] * np.arange(self.out[axis])
        least, most = 0, self.image[axis]
        if self.counts_padding:
            least, most = -self.before[axis], most + self.after[axis]
        places = first[:, None] + self.dilation[axis] * np.arange(self.kernel[axis])
        return ((least <= places) & (places < most)).sum(axis=1)


def _caffes(size: int, kernel: int, stride: int, pad: int) -> int:
    """Return how many windows Caffe has along an axis."""
    out = -(-(size + 2 * pad - kernel) // stride) + 1
    return out - 1 if pad and (out - 1) * stride >= size + pad else out


@spells("MaxPool", "AveragePool", uses=["Pooling", "PoolingParameter.round_mode", "PoolingParameter.avg_include_pad"])
def pooling_with_newer_fields(w: Writer, node: Node) -> str:
    windows = _Windows(w, node)
    if windows.before != windows.after:
        raise CannotSay("its paddings differ")
    if len(windows.kernel) == 1:
        raise CannotSay("its images have one axis")
    extents = [windows.extent(axis) for axis in range(len(windows.kernel))]
    rules = {}
    for rule, up in (("CEIL", True), ("FLOOR", False)):
        rules[rule] = tuple(
            _caffes(size, k, s, p) if up else (size + 2 * p - k) // s + 1
            for size, k, s, p in zip(windows.image, extents, windows.stride, windows.before, strict=True)
        )
    rounding = next((rule for rule, out in rules.items() if out == windows.out), None)
    if rounding is None:
        raise CannotSay(f"no rule of rounding gives {windows.out}")
    param = _param(windows, windows.before)
    param |= {"round_mode": rounding} if rounding != "CEIL" else {}
    param |= {"dilation": windows.dilation} if set(windows.dilation) != {1} else {}
    if windows.method == "AVE" and any(windows.before) and not windows.counts_padding:
        param["avg_include_pad"] = False
    x = w.blob(node.inputs[0])
    return w.add("Pooling", [x], (*w.shapes[x][:2], *windows.out), pooling_param=param)


@spells("MaxPool", "AveragePool", uses=["Pooling", "Slice", "Silence", "Scale", "Reshape", "Flatten"])
def pooling_and_cutting(w: Writer, node: Node) -> str:
    """Windows that Caffe has too many are cut off, and means over another number of places are scaled."""
    windows = _Windows(w, node)
    if len(windows.kernel) > 2:
        raise CannotSay("Pooling of Caffe 1.0 has images of two axes")
    if set(windows.dilation) != {1}:
        raise CannotSay("Pooling of Caffe 1.0 has no dilation")
    x = w.blob(node.inputs[0])
    n, c, *_ = w.shapes[x]
    made = x
    if len(windows.kernel) == 1:
        made = reshaped(w, x, (n, c, *windows.image, 1))
    pads, firsts, sizes = [], [], []
    for axis in range(len(windows.kernel)):
        pad, first, size = _widened(windows, axis)
        pads.append(pad)
        firsts.append(first)
        sizes.append(size)
    whole: Shape = (n, c, *sizes, *[1] * (2 - len(sizes)))
    made = w.add("Pooling", [made], whole, pooling_param=_param(windows, pads))
    for axis, (first, out) in enumerate(zip(firsts, windows.out, strict=True), 2):
        made = taken(w, made, axis, range(first, first + out))
    made = reshaped(w, made, (n, c, *windows.out))
    return made if windows.method == "MAX" else _recounted(w, made, windows, pads, firsts)


def _widened(windows: _Windows, axis: int) -> tuple[int, int, int]:
    """Return a padding with which Caffe has all windows along an axis, where the first of them is, and how many."""
    kernel, stride = windows.kernel[axis], windows.stride[axis]
    for first in range(kernel):
        pad = windows.before[axis] + first * stride
        size = _caffes(windows.image[axis], kernel, stride, pad)
        if pad >= kernel:
            break
        if size >= first + windows.out[axis]:
            return pad, first, size
    raise CannotSay(f"Caffe's windows end before those with a padding of {windows.after[axis]} at the end")


def _recounted(w: Writer, x: str, windows: _Windows, pads: Ints, firsts: Ints) -> str:
    """Write means over as many places as ONNX counts, for those over as many as Caffe counts."""
    factor = np.ones(())
    for axis, (pad, first) in enumerate(zip(pads, firsts, strict=True)):
        kernel, stride, image = windows.kernel[axis], windows.stride[axis], windows.image[axis]
        starts = stride * (first + np.arange(windows.out[axis])) - pad
        caffes = np.minimum(starts + kernel, image + pad) - starts
        factor = np.multiply.outer(factor, caffes / windows.counted(axis))
    return x if np.all(factor == 1) else scaled(w, x, factor, None, 2)


def _param(windows: _Windows, pads: Ints) -> dict[str, object]:
    param: dict[str, object] = {"pool": windows.method} if windows.method != "MAX" else {}
    for name, numbers, usual in (("kernel", windows.kernel, 0), ("stride", windows.stride, 1), ("pad", pads, 0)):
        one = "kernel_size" if name == "kernel" else name
        if len(set(numbers)) == 1 and len(numbers) != 1:
            param |= {one: numbers[0]} if numbers[0] != usual else {}
        elif len(numbers) == 1:
            param |= {f"{name}_h": numbers[0], f"{name}_w": 0 if name == "pad" else 1}
        elif len(numbers) == 2:
            param |= {f"{name}_h": numbers[0], f"{name}_w": numbers[1]}
        else:
            param[one] = list(numbers)
    return param
