"""The seven ways to fill a parameter before training (original: include/caffe/filler.hpp)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, isfinite, prod

import numpy as np

from ...blobs import Blob
from ...errors import CaffeError
from ...proto.caffe_pb2 import FillerParameter
from ...text.spelling import nearest

Filler = Callable[[FillerParameter, "np.ndarray", "np.random.Generator"], None]  # quoted: it is slow to import

_NUMBERS = ("value", "min", "max", "mean", "std")
_AT_ONCE = 1 << 16  # number of values drawn in float64 before they are kept as float32


def fill(blob: Blob, param: FillerParameter, rng: np.random.Generator) -> None:
    """Bind to ``blob.data`` an array filled as ``param`` says.

    Before any value is drawn, raise CaffeError if the type is unknown, a number makes no sense or the shape does not
    fit, and MemoryError if there is no memory for the size.
    """
    filler = FILLERS.get(param.type)
    if filler is None:
        near = nearest(param.type, FILLERS)
        raise CaffeError(f"unknown filler type {param.type!r}", hint=f"use {near or ' or '.join(sorted(FILLERS))}")
    _check_numbers(param)
    _check_shape(param, blob.shape)

    def values() -> np.ndarray:
        out = np.empty(blob.shape, np.float32)
        if out.size:
            filler(param, out, rng)
        return out

    blob.data = blob.ops.filled(blob.shape, values)


def _check_numbers(param: FillerParameter) -> None:
    of = f"of a {param.type} filler"
    for name in _NUMBERS:
        if not isfinite(getattr(param, name)):
            raise CaffeError(f"{name} {of} is {getattr(param, name):g}", hint="give a number")
    if param.sparse != -1 and param.type != "gaussian":
        raise CaffeError(f"sparse is set for a {param.type} filler", hint="only the gaussian filler can be sparse")
    if param.sparse < -1:
        raise CaffeError(f"sparse {of} is {param.sparse}", hint="give 0 or more, or leave it out")
    if param.type == "uniform" and param.min > param.max:
        raise CaffeError(f"min {of} is {param.min:g}, more than its max {param.max:g}", hint="exchange them")
    if param.type == "gaussian" and param.std <= 0:
        raise CaffeError(
            f"std {of} is {param.std:g}", hint="give more than 0; for equal values use the constant filler"
        )


def _check_shape(param: FillerParameter, shape: tuple[int, ...]) -> None:
    if param.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise CaffeError(f"the bilinear filler needs a blob (M, C, K, K), not {shape}")
    if param.sparse >= 0 and (not shape or param.sparse > shape[0]):
        raise CaffeError(f"sparse {param.sparse} exceeds the {shape[0] if shape else 0} outputs of the blob")


def constant(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set every element to ``value`` (0)."""
    out[...] = param.value


def uniform(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw uniformly between ``min`` (0) and ``max`` (1)."""
    _draw(out, lambda count: rng.uniform(param.min, param.max, count))


def gaussian(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw normally with ``mean`` (0) and ``std`` (1); ``sparse`` keeps about so many inputs of each output nonzero."""
    _draw(out, lambda count: rng.normal(param.mean, param.std, count))
    if param.sparse >= 0:
        for part in _parts(out):
            part *= rng.random(part.size) < param.sparse / out.shape[0]


def xavier(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw uniformly within ±sqrt(3 / n), with n as ``variance_norm`` says (Glorot and Bengio 2010)."""
    bound = (3.0 / _fan(param, out.shape)) ** 0.5
    _draw(out, lambda count: rng.uniform(-bound, bound, count))


def msra(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw normally with variance 2 / n, with n as ``variance_norm`` says (He et al. 2015)."""
    deviation = (2.0 / _fan(param, out.shape)) ** 0.5
    _draw(out, lambda count: rng.normal(0.0, deviation, count))


def positive_unitball(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw positive values such that the inputs of each output sum to 1."""
    rows = out.reshape(out.shape[0] if out.shape else 1, -1)
    at_once = max(1, _AT_ONCE // rows.shape[1])
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        values = rng.random(part.shape)
        part[...] = values / values.sum(1, keepdims=True)


def bilinear(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set the kernel that makes a Deconvolution interpolate: a pyramid over each square plane of a 4-axis blob."""
    half = ceil(out.shape[3] / 2)
    centre = (out.shape[3] - 1) / (2 * half)
    slope = 1 - np.abs(np.arange(out.shape[3]) / half - centre)
    out[...] = np.outer(slope, slope)


def _draw(out: np.ndarray, draw: Callable[[int], np.ndarray]) -> None:
    for part in _parts(out):
        part[...] = draw(part.size)


def _parts(out: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of a new array in order, each with one axis."""
    flat = out.reshape(-1)
    for first in range(0, flat.size, _AT_ONCE):
        yield flat[first : first + _AT_ONCE]


def _fan(param: FillerParameter, shape: tuple[int, ...]) -> float:
    """Return the inputs per output, the outputs per input, or their mean."""
    count = prod(shape)
    fan_in = count / shape[0] if shape else 1.0
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    return {
        FillerParameter.FAN_IN: fan_in,
        FillerParameter.FAN_OUT: fan_out,
        FillerParameter.AVERAGE: (fan_in + fan_out) / 2,
    }[param.variance_norm]


FILLERS: dict[str, Filler] = {
    f.__name__: f for f in (bilinear, constant, gaussian, msra, positive_unitball, uniform, xavier)
}
