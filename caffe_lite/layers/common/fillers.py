"""The seven ways to fill a parameter before training (original: include/caffe/filler.hpp), and those of forks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, isfinite, prod

import numpy as np

from ...blobs import Blob
from ...errors import CaffeError
from ...proto.caffe_pb2 import FillerParameter
from ...text.spelling import nearest
from .gabor import WAVES, gabor_filters

Filler = Callable[[FillerParameter, "np.ndarray", "np.random.Generator"], None]  # quoted: it is slow to import

_NUMBERS = ("value", "min", "max", "mean", "std", "scale", "alpha")
# The fields that only one filler reads, and their defaults.
_OWN = {"sparse": ("gaussian", -1), "scale": ("msra", 1), "alpha": ("msra", 0)}
_STATIC = "static"
_AT_ONCE = 1 << 16  # number of values drawn in float64 before they are kept as float32


def fill(blob: Blob, param: FillerParameter, rng: np.random.Generator) -> None:
    """Bind to ``blob.data`` an array filled as ``param`` says.

    Before any value is drawn, raise CaffeError if the type is unknown, a number makes no sense or the shape does not
    fit, and MemoryError if there is no memory for the size.
    """
    name = param.type
    if name.endswith(_STATIC) and name.removesuffix(_STATIC) in FILLERS:
        name = name.removesuffix(_STATIC)  # NVIDIA's, which fill equal blobs equally if they share a filler
    filler = FILLERS.get(name) or FORK_FILLERS.get(name)
    if filler is None:
        near = nearest(name, [*FILLERS, *FORK_FILLERS])
        raise CaffeError(f"unknown filler type {name!r}", hint=f"use {near or ' or '.join(sorted(FILLERS))}")
    _check_numbers(param, name)
    _check_shape(param, name, blob.shape)

    def values() -> np.ndarray:
        out = np.empty(blob.shape, np.float32)
        if out.size:
            filler(param, out, rng)
        return out

    blob.data = blob.ops.filled(blob.shape, values)


def _check_numbers(param: FillerParameter, kind: str) -> None:
    of = f"of a {kind} filler"
    for name in _NUMBERS:
        if not isfinite(getattr(param, name)):
            raise CaffeError(f"{name} {of} is {getattr(param, name):g}", hint="give a number")
    for name, (owner, default) in _OWN.items():
        if kind != owner and getattr(param, name) != default:
            what = f"only the {owner} filler " + ("can be sparse" if name == "sparse" else "reads it")
            raise CaffeError(f"{name} is set for a {kind} filler", hint=what)
    if param.sparse < -1:
        raise CaffeError(f"sparse {of} is {param.sparse}", hint="give 0 or more, or leave it out")
    if kind == "uniform" and param.min > param.max:
        raise CaffeError(f"min {of} is {param.min:g}, more than its max {param.max:g}", hint="exchange them")
    if kind == "gaussian" and param.std <= 0:
        raise CaffeError(
            f"std {of} is {param.std:g}", hint="give more than 0; for equal values use the constant filler"
        )


def _check_shape(param: FillerParameter, kind: str, shape: tuple[int, ...]) -> None:
    if kind == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise CaffeError(f"the bilinear filler needs a blob (M, C, K, K), not {shape}")
    if kind == "diagonal" and len(shape) < 2:
        raise CaffeError(f"the diagonal filler needs a blob of at least 2 axes, not {shape}")
    if kind == "identity" and (len(shape) < 2 or shape[0] != shape[1] or prod(shape[2:]) != 1):
        raise CaffeError(f"the identity filler needs a blob (N, N) or (N, N, 1, 1), not {shape}")
    if kind == "gabor" and shape not in WAVES:
        raise CaffeError(f"the gabor filler has no filters of the shape {shape}", hint=f"there are some for {[*WAVES]}")
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
    """Draw normally with variance 2 / n, with n as ``variance_norm`` says (He et al. 2015).

    ``scale`` (1) multiplies the deviation (Intel's); ``alpha`` (0), the slope of a PReLU, divides the variance by
    1 + alpha^2 (happynear's).
    """
    deviation = param.scale * (2.0 / _fan(param, out.shape) / (1 + param.alpha**2)) ** 0.5
    _draw(out, lambda count: rng.normal(0.0, deviation, count))


def positive_unitball(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw positive values such that the inputs of each output sum to 1."""
    for part in _rows(out):
        values = rng.random(part.shape)
        part[...] = values / values.sum(1, keepdims=True)


def bilinear(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set the kernel that makes a Deconvolution interpolate: a pyramid over each square plane of a 4-axis blob."""
    half = ceil(out.shape[3] / 2)
    centre = (out.shape[3] - 1) / (2 * half)
    slope = 1 - np.abs(np.arange(out.shape[3]) / half - centre)
    out[...] = np.outer(slope, slope)


def gaussian_unitball(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Draw normally, then divide the inputs of each output by their L2 norm (happynear's)."""
    for part in _rows(out):
        values = rng.normal(size=part.shape)
        part[...] = values / np.sqrt((values * values).sum(1, keepdims=True) + 1e-12)


def diagonal(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set the kernels from input n to output n to ``diag_val`` (1 beyond those given), divided by their size.

    All others are 0. FlowNet's and synopsys'.
    """
    out[...] = 0
    for n in range(min(out.shape[:2])):
        out[n, n] = (param.diag_val[n] if n < len(param.diag_val) else 1) / prod(out.shape[2:])


def identity(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set the weights from each input to the output of its number to 1, all others to 0 (happynear's)."""
    out[...] = np.eye(out.shape[0]).reshape(out.shape)


def gabor(param: FillerParameter, out: np.ndarray, rng: np.random.Generator) -> None:
    """Set the first filters of AlexNet, GoogLeNet, VGG or a net for CIFAR-10, by their shape (Intel's)."""
    out[...] = gabor_filters(out.shape)


def _draw(out: np.ndarray, draw: Callable[[int], np.ndarray]) -> None:
    for part in _parts(out):
        part[...] = draw(part.size)


def _parts(out: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of a new array in order, each with one axis."""
    flat = out.reshape(-1)
    for first in range(0, flat.size, _AT_ONCE):
        yield flat[first : first + _AT_ONCE]


def _rows(out: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of a new array in order, each as rows (n, inputs) of some outputs."""
    rows = out.reshape(out.shape[0] if out.shape else 1, -1)
    at_once = max(1, _AT_ONCE // rows.shape[1])
    for first in range(0, len(rows), at_once):
        yield rows[first : first + at_once]


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
FORK_FILLERS: dict[str, Filler] = {f.__name__: f for f in (diagonal, gabor, gaussian_unitball, identity)}
