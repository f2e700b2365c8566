"""The seven ways to fill a parameter before training (original: include/caffe/filler.hpp)."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from math import ceil, prod

import numpy as np

from .blob import Blob
from .errors import CaffeError
from .proto.caffe_pb2 import FillerParameter

Filler = Callable[[FillerParameter, tuple[int, ...], "np.random.Generator"], np.ndarray]  # quoted: it is slow to import


def fill(blob: Blob, param: FillerParameter, rng: np.random.Generator) -> None:
    """Bind to ``blob.data`` an array filled as ``param`` says; an unknown type, or an unfit shape, is an error."""
    filler = FILLERS.get(param.type)
    if filler is None:
        near = difflib.get_close_matches(param.type, FILLERS, 1) or sorted(FILLERS)
        raise CaffeError(f"unknown filler type {param.type!r}", hint=f"use {' or '.join(near)}")
    if param.sparse != -1 and param.type != "gaussian":
        raise CaffeError(f"sparse is set for a {param.type} filler", hint="only the gaussian filler can be sparse")
    _check_shape(param, blob.shape)
    if not blob.count:
        filler = constant  # the others divide by sizes
    blob.data = blob.ops.filled(
        blob.shape, lambda: filler(param, blob.shape, rng).astype(np.float32).reshape(blob.shape)
    )


def _check_shape(param: FillerParameter, shape: tuple[int, ...]) -> None:
    if param.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise CaffeError(f"the bilinear filler needs a blob (M, C, K, K), not {shape}")
    if param.sparse >= 0 and (not shape or param.sparse > shape[0]):
        raise CaffeError(f"sparse {param.sparse} exceeds the {shape[0] if shape else 0} outputs of the blob")


def constant(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Every element is ``value`` (0)."""
    return np.full(shape, param.value)


def uniform(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform between ``min`` (0) and ``max`` (1)."""
    return rng.uniform(param.min, param.max, shape)


def gaussian(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with ``mean`` (0) and ``std`` (1); with ``sparse`` only about so many inputs of each output are not 0."""
    values = rng.normal(param.mean, param.std, shape)
    if param.sparse >= 0:
        values *= rng.random(shape) < param.sparse / shape[0]
    return values


def xavier(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform within sqrt(3 / n), n as ``variance_norm`` says (Glorot and Bengio 2010)."""
    bound = (3.0 / _fan(param, shape)) ** 0.5
    return rng.uniform(-bound, bound, shape)


def msra(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with variance 2 / n, n as ``variance_norm`` says (He et al. 2015)."""
    return rng.normal(0.0, (2.0 / _fan(param, shape)) ** 0.5, shape)


def positive_unitball(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Positive, and the inputs of each output sum to 1."""
    values = rng.random((shape[0] if shape else 1, prod(shape[1:])))
    return values / values.sum(1, keepdims=True)


def bilinear(param: FillerParameter, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The kernel that makes a Deconvolution interpolate: a pyramid over each square plane of a 4-axis blob."""
    half = ceil(shape[3] / 2)
    centre = (shape[3] - 1) / (2 * half)
    slope = 1 - np.abs(np.arange(shape[3]) / half - centre)
    return np.broadcast_to(np.outer(slope, slope), shape)


def _fan(param: FillerParameter, shape: tuple[int, ...]) -> float:
    """Inputs per output, outputs per input, or their mean."""
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
