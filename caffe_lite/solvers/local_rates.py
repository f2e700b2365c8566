"""Factors of the learning rate for each parameter, from the norms of its values and its gradient: LARS and LARC.

They take the place of lr_mult, unless that is 0. A norm of 0 gives the factor 1.
"""

from __future__ import annotations

from ..ops.array import Array
from ..ops.base import Ops
from ..proto.caffe_pb2 import SolverParameter

_KEPT = 0.95  # of the running correlation, in each update
_DAMPING = 0.9


def lars(ops: Ops[Array], p: SolverParameter, w: Array, g: Array) -> Array:
    """Return local_gw_ratio |w| / (|g| + weight_decay |w|).

    Source: You et al., Large Batch Training of Convolutional Networks, 2017; Intel's sgd_solver.cpp.
    """
    values, gradient = _norm(ops, w), _norm(ops, g)
    return _ratio(ops, values, gradient, p.local_gw_ratio * values / (gradient + p.weight_decay * values))


def larc(ops: Ops[Array], p: SolverParameter, w: Array, direction: Array, scale: Array | float = 1.0) -> Array:
    """Return scale larc_eta |w| / |direction|. Source: NVIDIA's sgd_solver.cpp and sag_solver.cpp."""
    values, length = _norm(ops, w), _norm(ops, direction)
    return _ratio(ops, values, length, scale * p.larc_eta * values / length)


def damping(ops: Ops[Array], g: Array, history: Array, correlation: Array) -> Array:
    """Return larc_turbo's damping: 0.9 times the running mean of the cosine between gradient and history.

    ``correlation`` is that mean; it is updated in place.
    """
    lengths = _norm(ops, g) * _norm(ops, history)
    cosine = ops.where(lengths > 0, ops.sum(g * history) / lengths, 0.0)
    correlation *= _KEPT
    correlation += (1 - _KEPT) * cosine
    return _DAMPING * correlation


def _norm(ops: Ops[Array], x: Array) -> Array:
    return ops.sqrt(ops.sum_of_squares(x))


def _ratio(ops: Ops[Array], one: Array, other: Array, ratio: Array) -> Array:
    """Return a ratio, or 1 where one of two norms is 0."""
    return ops.where((one > 0) & (other > 0), ratio, 1.0)
