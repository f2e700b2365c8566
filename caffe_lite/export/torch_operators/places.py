"""Parts of arrays, by places that are constant or computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..torch_code import Code, at_axis, call, literal, method, subscript
from ..torch_scope import Operation
from .table import translates, unless

_FAR = 2**31 - 1  # an end of Slice from here on means all


@translates("Concat")
def _concat(op: Operation) -> Code | Sequence[Code]:
    parts = [op.sizes(index) for index in range(len(op))]
    if any(value.array is None for value in op.node.inputs if value) and None not in parts:
        return op.say_sizes([n for part in parts for n in part or ()])
    return call("torch.cat", tuple(op.all()), dim=unless(op.attribute("axis"), 0))


@translates("Split")
def _split(op: Operation) -> Code:
    axis, sizes, count = op.attribute("axis", 0), op.whole(1, "split"), len(op.node.outputs)
    if sizes is None:
        parts = method(op[0], "chunk", count, dim=unless(axis, 0))
    else:
        parts = method(op[0], "split", sizes[0] if len(set(sizes)) == 1 else sizes, dim=unless(axis, 0))
    return subscript(parts, "0") if count == 1 else parts


@translates("Slice")
def _slice(op: Operation) -> Code | Sequence[Code]:
    starts, ends = op.constant(1), op.constant(2)
    axes, steps = op.whole(3, "axes"), op.whole(4, "steps")
    if starts is None or ends is None:
        return _computed_slice(op, axes or [], steps or [1])
    sizes = op.sizes(0) if op.constant(0) is None else None
    if sizes is not None and steps is None:
        return op.say_sizes(sizes[int(starts[0]) : int(ends[0])])
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(axes) if steps is None else steps
    y, places = op.tensor(0), {}
    for axis, start, end, step in zip(axes, map(int, starts), map(int, ends), steps, strict=True):
        size = op.size(axis)
        if step > 0:
            last = "" if end >= (_FAR if size is None else size) else str(end)
            places[axis] = f"{start or ''}:{last}" + (f":{step}" if step > 1 else "")
        elif step == -1 and start in (-1, None if size is None else size - 1) and end <= -(size or _FAR) - 1:
            y = method(y, "flip", axis)
        else:
            op.refuse("it steps backwards")
    if len(places) > 1 and min(places) < 0:
        op.refuse("its axes count from the end")
    if len(places) == 1:
        return at_axis(y, *next(iter(places.items())))
    return subscript(y, *(places.get(axis, ":") for axis in range(max(places, default=-1) + 1)))


def _computed_slice(op: Operation, axes: Sequence[int], steps: Sequence[int]) -> Code:
    if len(axes) != 1 or list(steps) != [1]:
        op.refuse("its bounds are computed")
    return at_axis(op.tensor(0), axes[0], f"{_bound(op, 1)}:{_bound(op, 2)}")


def _bound(op: Operation, index: int) -> str:
    known = op.sizes(index)
    if known is None:
        return call("int", op[index])
    whole = isinstance(known[0], int) and (known[0] >= _FAR or (index == 1 and known[0] == 0))
    return "" if whole else literal(known[0])


@translates("Gather")
def _gather(op: Operation) -> Code | Sequence[Code]:
    axis, places = op.attribute("axis", 0), op.constant(1)
    sizes = op.sizes(0) if op.constant(0) is None else None
    if sizes is not None and places is not None and places.ndim == 1:
        return op.say_sizes([sizes[int(place)] for place in places])
    if places is not None and places.ndim == 0:
        return at_axis(op.tensor(0), axis, str(int(places)))
    if places is not None and places.ndim == 1:
        step = _regular(places)
        if step is not None:
            return at_axis(op.tensor(0), axis, step)
        if list(places) == list(range(len(places)))[::-1] and op.size(axis) == len(places):
            return method(op.tensor(0), "flip", axis)
    return at_axis(op.tensor(0), axis, op.tensor(1))


def _regular(places: np.ndarray) -> str | None:
    """Return a slice for places that rise by the same step."""
    if len(places) < 2 or places[0] < 0:
        return f"{places[0]}:{places[0] + 1}" if len(places) == 1 and places[0] >= 0 else None
    step = int(places[1] - places[0])
    if step < 1 or np.any(np.diff(places) != step):
        return None
    return f"{places[0] or ''}:{places[-1] + 1}" + (f":{step}" if step > 1 else "")


@translates("GatherElements")
def _gather_elements(op: Operation) -> Code:
    return method(op.tensor(0), "gather", op.attribute("axis", 0), op.tensor(1))


@translates("GatherND")
def _gather_nd(op: Operation) -> Code:
    if op.attribute("batch_dims", 0):
        return op.helper("gather_nd", op.tensor(0), op.tensor(1), batch_dims=op.attribute("batch_dims"))
    return subscript(op.tensor(0), call("tuple", method(op.tensor(1), "movedim", -1, 0)))


@translates("ScatterElements")
def _scatter_elements(op: Operation) -> Code:
    how = op.attribute("reduction", "none")
    axis = op.attribute("axis", 0)
    if how == "none":
        return method(op.tensor(0), "scatter", axis, op.tensor(1), op.tensor(2))
    reduction = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[how]
    return method(op.tensor(0), "scatter_reduce", axis, op.tensor(1), op.tensor(2), reduction)


@translates("ScatterND")
def _scatter_nd(op: Operation) -> Code:
    how = op.attribute("reduction", "none")
    if how not in ("none", "add"):
        op.refuse(f"its reduction is {how}")
    places = call("tuple", method(op.tensor(1), "movedim", -1, 0))
    accumulate = True if how == "add" else None
    return method(op.tensor(0), "index_put", places, op.tensor(2), accumulate=accumulate)


@translates("OneHot")
def _one_hot(op: Operation) -> Code:
    return op.helper("one_hot", op.tensor(0), call("int", op.number(1)), op.tensor(2), op.attribute("axis", -1))


@translates("NonZero")
def _non_zero(op: Operation) -> Code:
    return method(method(op.tensor(0), "nonzero"), "t")


@translates("Compress")
def _compress(op: Operation) -> Code:
    axis = op.attribute("axis")
    x = op.tensor(0) if axis is not None else method(op.tensor(0), "flatten")
    return at_axis(x, axis or 0, op.tensor(1))


@translates("DepthToSpace")
def _depth_to_space(op: Operation) -> Code:
    size = op.attribute("blocksize")
    if op.attribute("mode", "DCR") == "CRD":
        return call("F.pixel_shuffle", op[0], size)
    return op.helper("depth_to_space", op[0], size)


@translates("SpaceToDepth")
def _space_to_depth(op: Operation) -> Code:
    return op.helper("space_to_depth", op[0], op.attribute("blocksize"))
