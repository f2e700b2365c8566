"""Pooling, with as many windows as the graph has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops.windows import spanned
from ..torch_code import Code, call, infix, literal, method
from ..torch_scope import Operation
from .table import even, padded, translates, unless


@translates("MaxPool")
def _max_pool(op: Operation) -> Code | Sequence[Code]:
    kernel = op.attribute("kernel_shape")
    n, wants_places = len(kernel), op.is_read(1)
    dilations = op.attribute("dilations", [1] * n)
    fitted = _rounding(op, op.shape(0), dilations)
    x, padding, ceil_mode = op[0], op.attribute("pads", [0] * n)[:n], None
    if fitted is not None:
        ceil_mode = fitted or None
    elif wants_places:
        op.refuse("the places of its padded windows cannot be told")
    else:
        x, padding = padded(x, padding, op.attribute("pads")[n:], literal(-np.inf)), [0] * n
    pooled = call(
        f"F.max_pool{n}d",
        x,
        kernel_size=even(kernel),
        stride=even(op.attribute("strides", [1] * n)),
        padding=unless(even(padding), 0),
        dilation=unless(even(dilations), 1),
        ceil_mode=ceil_mode,
        return_indices=True if wants_places else None,
    )
    return pooled if wants_places or len(op.node.outputs) == 1 else [pooled, Code("None")]


@translates("AveragePool")
def _average_pool(op: Operation) -> Code:
    n = len(op.attribute("kernel_shape"))
    pads = op.attribute("pads", [0] * 2 * n)
    begins, ends = pads[:n], pads[n:]
    counts = bool(op.attribute("count_include_pad", 0))
    joined = _with_the_padding_before(op, n) if not any(begins) else None
    if joined is not None:
        return joined
    fitted = _rounding(op, op.shape(0), [1] * n)
    # Rounding up, a mean of PyTorch counts the padding, but not what is beyond it.
    if fitted is not None and (not any(begins) or not counts or begins == ends or not fitted):
        return _mean(op, op[0], begins, fitted, counts)
    if counts:
        return _mean(op, padded(op[0], begins, ends), [0] * n, False, True)
    x = op.variable(0)
    windows = even(op.attribute("kernel_shape")), even(op.attribute("strides", [1] * n))
    sums, sizes = (
        call(f"F.avg_pool{n}d", padded(of, begins, ends), *windows) for of in (x, call("torch.ones_like", x))
    )
    return infix(sums, "/", sizes)


def _with_the_padding_before(op: Operation, n: int) -> Code | None:
    """Write a mean over what a Pad has made, which counts the padding, but not what windows have beyond it."""
    before = op.source(0)
    if before is None or (before.op, before.layer) != ("Pad", op.node.layer) or op.scope.reads[id(op.given(0))] > 1:
        return None
    inner = Operation(before, op.scope)
    edges = [int(edge) for edge in inner.numbers(1)]
    padding = edges[2 : n + 2]
    if edges[: n + 2] != edges[n + 2 :] or any(edges[:2]):
        return None
    fitted = _rounding(op, inner.shape(0), [1] * n, padding)
    return None if fitted is None else _mean(op, inner[0], padding, fitted, True)


def _mean(op: Operation, x: Code, padding: Sequence[int], ceil_mode: bool, counts: bool) -> Code:
    kernel = op.attribute("kernel_shape")
    return call(
        f"F.avg_pool{len(kernel)}d",
        x,
        kernel_size=even(kernel),
        stride=even(op.attribute("strides", [1] * len(kernel))),
        padding=unless(even(padding), 0),
        ceil_mode=ceil_mode or None,
        count_include_pad=False if any(padding) and not counts else None,
    )


def _rounding(op: Operation, shape: Any, dilations: Sequence[int], padding: Sequence[int] | None = None) -> bool | None:
    """Return ceil_mode for as many windows as the operation has; None if neither rule of PyTorch gives so many."""
    kernel = op.attribute("kernel_shape")
    n = len(kernel)
    pads, strides = op.attribute("pads", [0] * 2 * n), op.attribute("strides", [1] * n)
    padding = pads[:n] if padding is None else padding
    if shape is None or None in shape[2:] or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    room = [
        size + 2 * edge - spanned(1, k, 1, d)
        for size, edge, k, d in zip(shape[2:], padding, kernel, dilations, strict=True)
    ]
    ends = [most + end - begin for most, begin, end in zip(room, pads[:n], pads[n:], strict=True)]
    wanted = [end // stride + 1 for end, stride in zip(ends, strides, strict=True)]
    up = [
        -(-r // s) + 1 - int(-(-r // s) * s >= size + edge)
        for r, s, size, edge in zip(room, strides, shape[2:], padding, strict=True)
    ]
    down = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    # Caffe rounds up. That matters for images of other sizes, too, so it is said wherever it may be.
    if wanted == up:
        return up != down or (max(strides) > 1 and list(kernel) != list(shape[2:]))
    return False if wanted == down else None


@translates("GlobalAveragePool")
def _global_mean(op: Operation) -> Code:
    return _over_image(op, "mean", "avg")


@translates("GlobalMaxPool")
def _global_max(op: Operation) -> Code:
    return _over_image(op, "amax", "max")


def _over_image(op: Operation, reduction: str, pooling: str) -> Code:
    rank = op.rank(0)
    if rank in (3, 4, 5):
        return call(f"F.adaptive_{pooling}_pool{rank - 2}d", op[0], 1)
    if rank is None:
        op.refuse("the number of axes is unknown")
    return method(op[0], reduction, tuple(range(2, rank)), keepdim=True)
