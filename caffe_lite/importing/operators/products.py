"""Operators that multiply by weights: convolutions, matrix products, tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..formulas import cut, reshaped, silence
from ..graph import Node
from ..writer import CannotSay, Writer, spells

Ints = Sequence[int]


def paddings(node: Node, kernel: Ints, stride: Ints, dilation: Ints, image: Ints) -> tuple[list[int], list[int]]:
    """Return the padding before and after each axis of an image."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(node.attributes.get("pads", [0] * 2 * len(kernel)))
        return pads[: len(kernel)], pads[len(kernel) :]
    before, after = [], []
    for k, s, d, size in zip(kernel, stride, dilation, image, strict=True):
        extra = 0 if auto == "VALID" else max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        smaller, larger = extra // 2, extra - extra // 2
        before.append(larger if auto == "SAME_LOWER" else smaller)
        after.append(smaller if auto == "SAME_LOWER" else larger)
    return before, after


def geometry(node: Node, kernel: Ints) -> tuple[list[int], list[int]]:
    """Return the strides and dilations along each axis."""
    ones = [1] * len(kernel)
    return list(node.attributes.get("strides", ones)), list(node.attributes.get("dilations", ones))


def fields(**by_axis: Ints) -> dict[str, list[int]]:
    """Return fields with one number for each axis, or one for all if they agree; those that are 0 or 1 as usual go."""
    usual = {"kernel_size": None, "stride": 1, "pad": 0, "dilation": 1}
    shortened = {name: [numbers[0]] if len(set(numbers)) == 1 else list(numbers) for name, numbers in by_axis.items()}
    return {name: numbers for name, numbers in shortened.items() if numbers != [usual[name]]}


def evened(weight: np.ndarray, before: Ints, after: Ints, dilation: Ints) -> tuple[np.ndarray, list[int]]:
    """Return filters and one padding for both sides, for two paddings: zeros make the filters larger on one side.

    Caffe pads both sides equally. A filter with a zero before it begins a pixel earlier, and computes the same.
    """
    widths = [(0, 0)] * 2
    for first, last, step in zip(before, after, dilation, strict=True):
        more, rest = divmod(abs(last - first), step)
        if rest:
            raise CannotSay(f"the paddings {first} and {last} differ by no multiple of the dilation {step}")
        widths.append((more, 0) if last > first else (0, more))
    if min(*before, *after, 0) < 0:
        raise CannotSay("a padding is negative")
    return np.pad(weight, widths), [max(pair) for pair in zip(before, after, strict=True)]


def convolved(
    w: Writer,
    x: str,
    weight: np.ndarray,
    bias: np.ndarray | None,
    *,
    before: Ints,
    after: Ints,
    stride: Ints,
    dilation: Ints,
    group: int,
) -> str:
    """Write a convolution with filters (M, C / group, ...), and its paddings before and after each axis."""
    weight, pad = evened(weight, before, after, dilation)
    n, _, *image = w.shapes[x]
    kernel = weight.shape[2:]
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, k, s, d in zip(image, pad, kernel, stride, dilation, strict=True)
    ]
    param: dict[str, Any] = {"num_output": len(weight)}
    param |= fields(kernel_size=kernel, stride=stride, pad=pad, dilation=dilation)
    param |= {"group": group} if group > 1 else {}
    param |= {"bias_term": False} if bias is None else {}
    blobs = [weight] if bias is None else [weight, bias]
    return w.add("Convolution", [x], (n, len(weight), *out), blobs, convolution_param=param)


@spells("Conv", uses=["Convolution"])
def convolution(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    weight = w.require_constant(node, 1, "filters")
    bias = w.require_constant(node, 2, "bias") if node.input(2) else None
    kernel = weight.shape[2:]
    stride, dilation = geometry(node, kernel)
    before, after = paddings(node, kernel, stride, dilation, w.shapes[x][2:])
    group = node.attributes.get("group", 1)
    return convolved(w, x, weight, bias, before=before, after=after, stride=stride, dilation=dilation, group=group)


@spells("ConvTranspose", uses=["Deconvolution", "Slice", "Silence"])
def transposed_convolution(w: Writer, node: Node) -> str:
    """Cut off as many pixels at both sides, as Caffe does, and let zeros in the filters make up for a difference."""
    x = w.blob(node.inputs[0])
    weight = w.require_constant(node, 1, "filters")
    bias = w.require_constant(node, 2, "bias") if node.input(2) else None
    n, _, *image = w.shapes[x]
    out = w.shape(node.outputs[0])
    kernel = weight.shape[2:]
    stride, dilation = geometry(node, kernel)
    full = [s * (size - 1) + d * (k - 1) + 1 for s, size, d, k in zip(stride, image, dilation, kernel, strict=True)]
    before = _cut_before(node, full, out[2:])
    widths, wanted = [(0, 0)] * 2, []
    for first, size, whole, step in zip(before, out[2:], full, dilation, strict=True):
        last = whole - first - size  # cut off at the end, or missing if negative
        more = -(-max(0, first - last) // step)
        widths.append((0, more))
        wanted.append((first, first + size, whole + more * step - 2 * first))
    weight = np.pad(weight, widths)
    group = node.attributes.get("group", 1)
    num_output = weight.shape[1] * group
    param: dict[str, Any] = {"num_output": num_output}
    param |= fields(kernel_size=weight.shape[2:], stride=stride, pad=before, dilation=dilation)
    param |= {"group": group} if group > 1 else {}
    param |= {"bias_term": False} if bias is None else {}
    shape = (n, num_output, *(size for _, _, size in wanted))
    made = w.add("Deconvolution", [x], shape, [weight] if bias is None else [weight, bias], convolution_param=param)
    for axis, size in enumerate(out[2:], 2):
        if w.shapes[made][axis] != size:
            made, *rest = cut(w, made, axis, [0, size, w.shapes[made][axis]])
            silence(w, rest)
    return made


def _cut_before(node: Node, full: Ints, out: Ints) -> list[int]:
    """Return how many pixels are cut off before each axis."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if "output_shape" not in node.attributes and auto in ("NOTSET", ""):
        return list(node.attributes.get("pads", [0] * len(full)))[: len(full)]
    surplus = [max(0, whole - size) for whole, size in zip(full, out, strict=True)]
    return [extra // 2 if auto == "SAME_UPPER" else extra - extra // 2 for extra in surplus]


@spells("Gemm", uses=["InnerProduct", "Power"])
def gemm(w: Writer, node: Node) -> str:
    if node.attributes.get("transA", 0):
        raise CannotSay("its first matrix is transposed")
    x = w.blob(node.inputs[0])
    weight = w.require_constant(node, 1, "second matrix").astype(np.float64)
    weight = node.attributes.get("alpha", 1.0) * (weight if node.attributes.get("transB", 0) else weight.T)
    bias = None
    if node.input(2):
        bias = node.attributes.get("beta", 1.0) * w.require_constant(node, 2, "bias").astype(np.float64)
        if bias.ndim > 1 and bias.shape[0] != 1:
            raise CannotSay(f"its bias {bias.shape} differs from row to row")
        bias = np.broadcast_to(bias.reshape(-1), len(weight))
    return _inner_product(w, x, weight, bias)


@spells("MatMul", uses=["InnerProduct"])
def product_with_weights(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    weight = w.require_constant(node, 1, "second matrix")
    if weight.ndim != 2 or len(w.shapes[x]) < 2:
        raise CannotSay(f"it multiplies {w.shapes[x]} by {weight.shape}")
    return _inner_product(w, x, weight.T, None)


def _inner_product(w: Writer, x: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
    axis = len(w.shapes[x]) - 1
    param: dict[str, Any] = {"num_output": len(weight)}
    param |= {"axis": axis} if axis != 1 else {}
    param |= {"bias_term": False} if bias is None else {}
    shape = (*w.shapes[x][:-1], len(weight))
    return w.add("InnerProduct", [x], shape, [weight] if bias is None else [weight, bias], inner_product_param=param)


@spells("MatMul", uses=["MatMul", "Reshape", "Parameter"])
def product_of_matrices(w: Writer, node: Node) -> str:
    a, b = (w.blob(name) for name in node.inputs)
    out = w.shape(node.outputs[0])
    if min(len(w.shapes[a]), len(w.shapes[b])) < 2:
        raise CannotSay(f"it multiplies {w.shapes[a]} by {w.shapes[b]}, of which one is a vector")
    for blob in (a, b):
        if w.shapes[blob][:-2] != out[:-2] and not (blob == b and len(w.shapes[b]) == 2):
            raise CannotSay(f"it spreads {w.shapes[blob]} over {out}")
    return w.add("MatMul", [a, b], out)


@spells("Gather", uses=["Embed", "Flatten", "Reshape"])
def table(w: Writer, node: Node) -> str:
    """Look up rows of a constant table by computed indices."""
    rows = w.require_constant(node, 0, "table")
    if w.constant(node.inputs[1]) is not None or node.attributes.get("axis", 0) or rows.ndim < 2:
        raise CannotSay("it does not look up rows of a table")
    x = w.blob(node.inputs[1])
    param = {"num_output": prod(rows.shape[1:]), "input_dim": len(rows), "bias_term": False}
    flat = rows.reshape(len(rows), -1)
    made = w.add("Embed", [x], (*w.shapes[x], flat.shape[1]), [flat], embed_param=param)
    return reshaped(w, made, w.shape(node.outputs[0]))


@spells("DepthToSpace", uses=["Deconvolution"])
def depth_to_space(w: Writer, node: Node) -> str:
    """Let r^2 channels become squares of r x r pixels by a deconvolution with ones where they belong."""
    x = w.blob(node.inputs[0])
    r = node.attributes["blocksize"]
    n, c, height, width = w.shapes[x]
    channels = c // r**2
    if node.attributes.get("mode", "DCR") == "CRD":
        places = np.arange(c).reshape(channels, r, r)
    else:
        places = np.arange(c).reshape(r, r, channels).transpose(2, 0, 1)
    weight = np.zeros((c, channels, r, r))
    for channel, i, j in np.ndindex(channels, r, r):
        weight[places[channel, i, j], channel, i, j] = 1
    param = {"num_output": channels, "kernel_size": [r], "stride": [r], "bias_term": False}
    return w.add("Deconvolution", [x], (n, channels, r * height, r * width), [weight], convolution_param=param)


@spells("SpaceToDepth", uses=["Convolution"])
def space_to_depth(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    r = node.attributes["blocksize"]
    c = w.shapes[x][1]
    weight = np.zeros((c * r * r, c, r, r))
    for i, j, channel in np.ndindex(r, r, c):
        weight[(i * r + j) * c + channel, channel, i, j] = 1
    return convolved(w, x, weight, None, before=[0, 0], after=[0, 0], stride=[r, r], dilation=[1, 1], group=1)
