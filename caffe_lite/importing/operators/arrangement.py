"""Operators that move values: shapes, pieces, orders, copies, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..formulas import cut, joined, mapped, power, repeated, reshaped, silence, taken
from ..graph import Node, Shape
from ..writer import CannotSay, Writer, spells
from .products import convolved

_LARGEST_PERMUTATION = 4096  # channels that a 1 x 1 convolution may put into another order


@spells("Reshape", "Flatten", "Squeeze", "Unsqueeze", uses=["Reshape", "Flatten"])
def reshape(w: Writer, node: Node) -> str:
    return reshaped(w, w.blob(node.inputs[0]), w.shape(node.outputs[0]))


@spells("Expand", uses=["Reshape", "Flatten", "Tile"])
def expand(w: Writer, node: Node) -> str:
    x, shape = w.blob(node.inputs[0]), w.shape(node.outputs[0])
    old = w.shapes[x]
    return repeated(w, reshaped(w, x, (*[1] * (len(shape) - len(old)), *old)), shape)


@spells("Tile", uses=["Tile"])
def tile(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    for axis, tiles in enumerate(w.require_constant(node, 1, "number of copies").tolist()):
        if tiles != 1:
            old = w.shapes[x]
            shape = (*old[:axis], tiles * old[axis], *old[axis + 1 :])
            x = w.add("Tile", [x], shape, tile_param={"tiles": tiles} | ({"axis": axis} if axis != 1 else {}))
    return x


@spells("Concat", uses=["Concat"])
def concat(w: Writer, node: Node) -> str:
    full = [name for name in node.inputs if prod(w.shape(name))]
    return joined(w, [w.blob(name) for name in full], _axis(w, node, 1))


def _axis(w: Writer, node: Node, default: int) -> int:
    axes = len(w.shape(node.inputs[0]))
    return int(node.attributes.get("axis", default)) % max(axes, 1)


@spells("Split", uses=["Slice", "Silence"])
def split(w: Writer, node: Node) -> Sequence[str]:
    x, axis = w.blob(node.inputs[0]), _axis(w, node, 0)
    sizes = [w.shape(name)[axis] if name else 0 for name in node.outputs]
    if 0 in sizes:
        raise CannotSay("a piece is empty or left out")
    pieces = cut(w, x, axis, [0, *np.cumsum(sizes).tolist()])
    unread = [
        piece
        for piece, name in zip(pieces, node.outputs, strict=True)
        if not w.graph.readers.get(name) and name not in w.graph.outputs
    ]
    silence(w, unread)
    return pieces


@spells("Slice", uses=["Slice", "Silence", "Concat", "Pooling"])
def slice_(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    for axis, (start, stop, step) in _slices(w, node):
        size = w.shapes[x][axis]
        indices = range(*slice(start, stop, step).indices(size))
        if step > 1 and len(indices) > 2 and axis >= 2 and len(w.shapes[x]) == 4:
            x = _every(w, taken(w, x, axis, range(indices.start, indices[-1] + 1)), axis, step)
        elif len(indices) != size or step < 0:
            x = taken(w, x, axis, indices)
    return x


def _every(w: Writer, x: str, axis: int, step: int) -> str:
    """Write every step-th row or column of an image, its last one included: pooling with windows of one pixel."""
    shape = list(w.shapes[x])
    shape[axis] = (shape[axis] - 1) // step + 1
    strides = {"stride_h": step if axis == 2 else 1, "stride_w": step if axis == 3 else 1}
    return w.add("Pooling", [x], tuple(shape), pooling_param={"kernel_size": 1, **strides})


def _slices(w: Writer, node: Node) -> list[tuple[int, tuple[int, int, int]]]:
    """Return the start, stop and step of each axis that is cut, as a Python slice has them."""
    found = []
    for index, name in enumerate(("starts", "ends", "axes", "steps"), 1):
        value = w.graph.setting(node, name, index)
        if value is None and node.input(index):
            raise CannotSay(f"its {name} are computed")
        found.append(None if value is None else [int(one) for one in np.asarray(value).reshape(-1)])
    starts, ends, axes, steps = found
    assert starts is not None and ends is not None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    rank = len(w.shape(node.inputs[0]))
    slices = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = w.shape(node.inputs[0])[axis % rank]
        if step < 0 and end < -size:
            end = -size - 1  # before the first element
        slices.append((axis % rank, (start, end, step)))
    return slices


@spells("Gather", uses=["Slice", "Silence", "Concat", "Reshape", "Flatten"])
def gather(w: Writer, node: Node) -> str:
    """Take slices at constant indices."""
    indices = w.require_constant(node, 1, "indices")
    x, axis = w.blob(node.inputs[0]), _axis(w, node, 0)
    size = w.shapes[x][axis]
    chosen = taken(w, x, axis, [int(index) % size for index in indices.reshape(-1)])
    return reshaped(w, chosen, w.shape(node.outputs[0]))


@spells("Transpose", uses=["Reshape", "Flatten"])
def reorder_nothing(w: Writer, node: Node) -> str:
    """Move axes of size 1 only; no value changes its place."""
    x = w.blob(node.inputs[0])
    order = _order(w, node)
    moved = [axis for axis in order if w.shapes[x][axis] != 1]
    if moved != sorted(moved):
        raise CannotSay("its axes change their order")
    return reshaped(w, x, w.shape(node.outputs[0]))


@spells("Transpose", uses=["Permute"])
def permute(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    return w.add("Permute", [x], w.shape(node.outputs[0]), permute_param={"order": _order(w, node)})


@spells("Transpose", uses=["Convolution", "Reshape", "Flatten"])
def reorder_channels(w: Writer, node: Node) -> str:
    """Reorder axes between the batch and an image: together they are channels, which a 1 x 1 convolution reorders."""
    x, order = w.blob(node.inputs[0]), _order(w, node)
    old, new = w.shapes[x], w.shape(node.outputs[0])
    first = 0
    while order[first] == first:
        first += 1
    end = len(order)
    while order[end - 1] == end - 1:
        end -= 1
    channels = prod(old[first:end])
    if first == 0:
        raise CannotSay("the batch's axis moves")
    if channels > _LARGEST_PERMUTATION:
        raise CannotSay(f"a 1 x 1 convolution in its place would have {channels} channels")
    batch, image = prod(old[:first]), prod(old[end:])
    places = np.arange(channels).reshape(old[first:end]).transpose([axis - first for axis in order[first:end]])
    made = _reordered(w, reshaped(w, x, (batch, channels, image, 1)), places.reshape(-1))
    return reshaped(w, made, new)


def _order(w: Writer, node: Node) -> list[int]:
    rank = len(w.shape(node.inputs[0]))
    return [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]


def _reordered(w: Writer, x: str, places: np.ndarray) -> str:
    """Write channels in another order."""
    none = [0] * (len(w.shapes[x]) - 2)
    ones = [1] * len(none)
    matrix = np.eye(len(places))[places].reshape(len(places), -1, *ones)
    return convolved(w, x, matrix, None, before=none, after=none, stride=ones, dilation=ones, group=1)


@spells("ChannelShuffle", uses=["ShuffleChannel"])
def shuffle_channel(w: Writer, node: Node) -> str:
    param = {"group": node.attributes["group"]}
    return w.add("ShuffleChannel", [w.blob(node.inputs[0])], shuffle_channel_param=param)


@spells("ChannelShuffle", uses=["Convolution"])
def shuffle_by_convolution(w: Writer, node: Node) -> str:
    x = w.blob(node.inputs[0])
    channels = w.shapes[x][1]
    if channels > _LARGEST_PERMUTATION:
        raise CannotSay(f"a 1 x 1 convolution is too large for {channels} channels")
    return _reordered(w, x, np.arange(channels).reshape(node.attributes["group"], -1).T.reshape(-1))


@spells("Pad", uses=["Pad"])
def pad(w: Writer, node: Node) -> str:
    before, after, value = _padding(w, node, "constant")
    x = w.blob(node.inputs[0])
    paddings = [size for pair in zip(before, after, strict=True) for size in pair]
    param = {"paddings": paddings} | ({"constant_values": value} if value else {})
    return w.add("Pad", [x], w.shape(node.outputs[0]), pad_param=param)


@spells("Pad", uses=["Convolution"])
def pad_by_convolution(w: Writer, node: Node) -> str:
    """Pad images with 0 by a convolution that multiplies each channel by 1."""
    before, after, value = _padding(w, node, "constant")
    x = w.blob(node.inputs[0])
    rank, channels = len(before), w.shapes[x][1]
    if value or rank < 3 or any((*before[:2], *after[:2])):
        raise CannotSay("it pads with another value than 0, or other axes than those of images")
    ones = [1] * (rank - 2)
    weight = np.ones((channels, 1, *ones))
    return convolved(w, x, weight, None, before=before[2:], after=after[2:], stride=ones, dilation=ones, group=channels)


@spells("Pad", uses=["Slice", "Concat"])
def pad_by_copies(w: Writer, node: Node) -> str:
    """Pad with pixels of the image itself."""
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        raise CannotSay("it pads with a constant")
    before, after, _ = _padding(w, node, mode)
    x = w.blob(node.inputs[0])
    for axis, widths in enumerate(zip(before, after, strict=True)):
        if any(widths):
            places: np.ndarray = np.pad(np.arange(w.shapes[x][axis]), widths, mode=mode)
            x = taken(w, x, axis, places.tolist())
    return x


def _padding(w: Writer, node: Node, mode: str) -> tuple[list[int], list[int], float]:
    """Return how much is padded before and after each axis, and with what."""
    if node.attributes.get("mode", "constant") != mode:
        raise CannotSay(f"it pads in the mode {node.attributes['mode']}")
    rank = len(w.shape(node.inputs[0]))
    pads, axes = w.graph.setting(node, "pads", 1), w.graph.setting(node, "axes", 3)
    value = w.graph.setting(node, "value", 2, 0.0)
    if pads is None or (node.input(2) and w.constant(node.input(2)) is None):
        raise CannotSay("its paddings or its value are computed")
    axes = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = int(pads[index]), int(pads[len(axes) + index])
    if min(*before, *after) < 0:
        raise CannotSay("a padding is negative")
    return before, after, float(np.asarray(value).reshape(()))


@spells("ArgMax", uses=["ArgMax", "Convolution", "InnerProduct", "Power", "Reshape", "Flatten"])
def argmax(w: Writer, node: Node) -> str:
    """Find the first of equals, as ONNX does: Caffe finds the last, so that the order is turned round before."""
    x, axis = w.blob(node.inputs[0]), _axis(w, node, 0)
    size = w.shapes[x][axis]
    shape: Shape = (*w.shapes[x][:axis], 1, *w.shapes[x][axis + 1 :])
    last = node.attributes.get("select_last_index", 0)
    if not last:
        x = mapped(w, x, axis, np.eye(size)[::-1])
    found = w.add("ArgMax", [x], shape, argmax_param={"axis": axis})
    return reshaped(w, found if last else power(w, found, -1, size - 1), w.shape(node.outputs[0]))
