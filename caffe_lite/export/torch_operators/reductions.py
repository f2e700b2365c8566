"""Sums, means, extremes and their places along axes."""

from __future__ import annotations

from ..torch_code import Code, infix, method, power
from ..torch_scope import Operation
from .table import even, translates

_REDUCTIONS = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceL2": "norm"}


@translates(*_REDUCTIONS)
def _reduce(op: Operation) -> Code:
    return _reduced(op, op.tensor(0), _REDUCTIONS[op.node.op])


@translates("ReduceL1")
def _reduce_l1(op: Operation) -> Code:
    return _reduced(op, method(op[0], "abs"), "sum")


@translates("ReduceSumSquare")
def _reduce_squares(op: Operation) -> Code:
    return _reduced(op, power(op[0], 2), "sum")


@translates("ReduceLogSumExp")
def _reduce_log_sum_exp(op: Operation) -> Code:
    return _reduced(op, op[0], "logsumexp")


@translates("ReduceProd")
def _reduce_prod(op: Operation) -> Code:
    axes = op.whole(1, "axes")
    if axes is None or len(axes) != 1:
        op.refuse("its product is over several axes")
    return method(op[0], "prod", axes[0], keepdim=True if op.attribute("keepdims", 1) else None)


def _reduced(op: Operation, x: Code, reduction: str) -> Code:
    axes, keeps = op.whole(1, "axes"), bool(op.attribute("keepdims", 1))
    if axes is None:
        if op.attribute("noop_with_empty_axes"):
            return x
        rank = op.rank(0)
        if not keeps:
            return method(x, reduction)
        if rank is None:
            op.refuse("the number of axes is unknown")
        axes = list(range(rank))
    return method(x, reduction, dim=even(axes) if len(axes) == 1 else tuple(axes), keepdim=keeps or None)


@translates("ArgMax", "ArgMin")
def _arg(op: Operation) -> Code:
    x, axis = op[0], op.attribute("axis", 0)
    name, keepdim = op.node.op.lower(), True if op.attribute("keepdims", 1) else None
    if op.attribute("select_last_index"):
        x = op.variable(0)
        last = infix(Code(f"{x}.shape[{axis}]"), "-", 1)
        return infix(last, "-", method(method(x, "flip", axis), name, dim=axis, keepdim=keepdim))
    return method(x, name, dim=axis, keepdim=keepdim)
