"""Shapes: the same elements in another order, repeated, or in the middle of others."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...onnx_graph import Sizes
from ..torch_code import Code, call, literal, method, subscript
from ..torch_scope import Operation
from .table import padded, translates


@translates("Reshape")
def _reshape(op: Operation) -> Code:
    target, old, new = op.constant(1), op.shape(0), op.node.outputs[0].shape
    if target is None:
        sizes = op.sizes(1)
        return method(op.tensor(0), "reshape", *([method(op[1], "tolist")] if sizes is None else sizes))
    if old is not None and new is not None:
        known = _reshaped(op, old, new)
        if known is not None:
            return known
    sizes = [int(n) for n in target]
    if 0 in sizes and not op.attribute("allowzero"):
        x = op.variable(0)
        return method(x, "reshape", *(Code(f"{x}.shape[{i}]") if n == 0 else n for i, n in enumerate(sizes)))
    return method(op.tensor(0), "reshape", *sizes or [()])


def _reshaped(op: Operation, before: Sizes, after: Sizes) -> Code | None:
    """Write what leads from one shape to another; None if only sizes as numbers do."""
    same = before.count(None) == after.count(None) and _known_part(before) == _known_part(after)
    first = 0
    while first < min(len(before), len(after)) and _stays(before[first], after[first], same):
        first += 1
    if first == len(before):
        added = after[first:]
        return subscript(op[0], *[":"] * first, *["None"] * len(added)) if set(added) <= {1} else None
    last = 0
    while last < min(len(before), len(after)) - first - 1 and _stays(before[-1 - last], after[-1 - last], same):
        last += 1
    old, new = before[first : len(before) - last], after[first : len(after) - last]
    if not new and set(old) == {1} and first and not last:
        return method(op[0], "flatten", first - 1)
    if len(new) == 1 and len(old) > 1:
        return method(op[0], "flatten", first, *([] if last == 0 else [len(before) - last - 1]))
    if len(old) == 1 and len(new) > 1 and new.count(None) < 2:
        return method(op[0], "unflatten", first, tuple(-1 if n is None else n for n in new))
    if after.count(None) < 2 and 0 not in after:
        return method(op.tensor(0), "reshape", *(-1 if n is None else n for n in after))
    return None


def _known_part(shape: Sizes) -> int:
    return prod(n for n in shape if n is not None)


def _stays(before: int | None, after: int | None, same: bool) -> bool:
    """Return whether two sizes are equal; ``same`` tells it of those that the batch decides."""
    return before == after and (before is not None or same)


@translates("Flatten")
def _flatten(op: Operation) -> Code:
    axis = op.attribute("axis", 1)
    if axis == 1:
        return method(op[0], "flatten", 1)
    if axis == 0:
        return method(op[0], "reshape", 1, -1)
    return method(method(op[0], "flatten", 0, axis - 1), "flatten", 1)


@translates("Transpose")
def _transpose(op: Operation) -> Code:
    perm = op.attribute("perm")
    if perm is None:
        rank = op.rank(0)
        if rank is None:
            op.refuse("the number of axes is unknown")
        perm = list(range(rank))[::-1]
    moved = [axis for axis, source in enumerate(perm) if axis != source]
    if len(moved) == 2:
        return method(op.tensor(0), "t") if len(perm) == 2 else method(op.tensor(0), "transpose", *moved)
    return method(op.tensor(0), "permute", *perm) if moved else op[0]


@translates("Squeeze")
def _squeeze(op: Operation) -> Code:
    axes = op.whole(1, "axes")
    if axes is None:
        return method(op[0], "squeeze")
    return method(op[0], "squeeze", axes[0] if len(axes) == 1 else tuple(axes))


@translates("Unsqueeze")
def _unsqueeze(op: Operation) -> Code:
    axes = op.whole(1, "axes") or []
    y = op.tensor(0)
    if len(axes) > 1 and min(axes) < 0:
        op.refuse("its axes count from the end")
    for axis in sorted(axes):
        y = method(y, "unsqueeze", axis)
    return y


@translates("Expand")
def _expand(op: Operation) -> Code:
    sizes, shape = op.sizes(1), op.shape(0)
    if sizes is None:
        return call("torch.broadcast_to", op.tensor(0), method(op[1], "tolist"))
    if op.constant(0) is not None and op.given(0).sizes == ():
        return _full(sizes, op.number(0))
    if shape is None or len(shape) > len(sizes):
        return call("torch.broadcast_to", op.tensor(0), tuple(sizes))
    # A size of 1 keeps what the operand has, which is -1 in PyTorch.
    ahead = len(sizes) - len(shape)
    kept = [-1 if i >= ahead and n in (1, shape[i - ahead]) else n for i, n in enumerate(sizes)]
    return method(op.tensor(0), "expand", *kept) if ahead or set(kept) != {-1} else op[0]


@translates("Tile")
def _tile(op: Operation) -> Code:
    times = op.sizes(1)
    return method(op.tensor(0), "repeat", *([method(op[1], "tolist")] if times is None else times))


@translates("Shape")
def _shape(op: Operation) -> Code | Sequence[Code]:
    shape, part = op.shape(0), slice(op.attribute("start", 0), op.attribute("end"))
    x = op.variable(0) if shape is None or None in shape[part] else op[0]
    if shape is None:
        return call("torch.tensor", Code(f"{x}.shape"))
    sizes = [Code(f"{x}.shape[{i}]") if n is None else n for i, n in enumerate(shape)]
    return op.say_sizes(sizes[part])


@translates("Size")
def _size(op: Operation) -> Code:
    return call("torch.tensor", method(op[0], "numel"))


@translates("ConstantOfShape")
def _constant_of_shape(op: Operation) -> Code:
    value, sizes = literal(op.attribute("value", np.zeros(1, np.float32)).reshape(())), op.sizes(0)
    return call("torch.full", method(op[0], "tolist"), value) if sizes is None else _full(sizes, value)


def _full(sizes: Sequence[Any], value: Code) -> Code:
    """Write an array of one value, on the device of the tensor that gives it its sizes."""
    owners = [size.partition(".shape[")[0] for size in sizes if isinstance(size, Code)]
    return call("torch.full", tuple(sizes), value, device=Code(f"{owners[0]}.device") if owners else None)


@translates("Range")
def _range(op: Operation) -> Code:
    return call("torch.arange", *(op.number(i) for i in range(3)))


@translates("Pad")
def _pad(op: Operation) -> Code:
    mode = op.attribute("mode", "constant")
    pads = [int(n) for n in op.numbers(1)]
    n = len(pads) // 2
    if op.value(3) is not None:
        axes = [int(axis) for axis in op.numbers(3)]
        rank = op.rank(0)
        if rank is None:
            op.refuse("the number of axes is unknown")
        full = np.zeros((2, rank), int)
        full[:, axes] = np.reshape(pads, (2, -1))
        pads, n = [int(edge) for edge in full.ravel()], rank
    if mode == "constant":
        value = op.number(2) if op.value(2) is not None else literal(0.0)
        return padded(op[0], pads[:n], pads[n:], value)
    if n > 2 and not any([*pads[:2], *pads[n : n + 2]]):
        return padded(op[0], pads[2:n], pads[n + 2 :], mode={"edge": "replicate"}.get(mode, mode))
    op.refuse(f"mode {mode} reaches the first axes")
