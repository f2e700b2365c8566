"""Whether two forms of a net compute the same: outputs for seeded, zero and large inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..pycaffe.net import Net

TOLERANCE = 1e-4  # of the spread of an output
_SEED = 1


class Gap(NamedTuple):
    """The largest difference between two results, over the spread of the first, and the blob that it is in."""

    blob: str
    size: float


def inputs(net: Net) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield what to feed a net, with a name: normally distributed values, zeros, and values up to some hundreds.

    A net that reads its own data is fed nothing, once.
    """
    shapes = {name: net.blobs[name].data.shape for name in net.inputs}
    if not shapes:
        yield "data", {}
        return
    rng = np.random.default_rng(_SEED)
    for kind, scale in (("random", 1.0), ("zero", 0.0), ("large", 100.0)):
        yield kind, {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}


def run(net: Net, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a net forward over these inputs; return all of its blobs, in the order of the layers."""
    for name, values in fed.items():
        net.blobs[name].data[...] = values
    net.forward()
    return {name: np.array(blob.data, np.float64) for name, blob in net.blobs.items()}


def gap(blob: str, wanted: np.ndarray, got: np.ndarray) -> Gap:
    """Return how far a result is from the one that is wanted; infinite if their shapes differ, or what is finite."""
    if wanted.shape != got.shape or not np.array_equal(np.isfinite(wanted), np.isfinite(got)):
        return Gap(blob, np.inf)
    finite = np.isfinite(wanted)
    if not finite.any():
        return Gap(blob, 0.0)
    spread = max(float(np.ptp(wanted[finite])), float(np.abs(wanted[finite]).max()) * 1e-6, 1e-30)
    return Gap(blob, float(np.abs(wanted[finite] - got[finite]).max()) / spread)


def compare(first: Net, second: Net) -> list[tuple[str, Gap]]:
    """Return the largest gap of the outputs for each kind of input.

    Raise if it is more than 1e-4; the message names the first blob of both nets that differs so much.
    """
    if not first.outputs:
        raise NetError("the net has no outputs to compare", hint="remove its Silence layers")
    found = []
    for kind, fed in inputs(first):
        wanted, got = run(first, fed), run(second, fed)
        gaps = [gap(name, wanted[name], got[name]) for name in first.outputs if name in got]
        worst = max(gaps, key=lambda one: one.size)
        if worst.size > TOLERANCE:
            common = (gap(name, wanted[name], got[name]) for name in wanted if name in got)
            blob, size = next(one for one in common if one.size > TOLERANCE)
            raise NetError(
                f"the two nets differ: for {kind} inputs by {worst.size:.3g} of the spread of {worst.blob!r}. "
                f"The first blob to differ is {blob!r}, by {size:.3g}",
                hint="Nothing was written. Please report it, with the net",
            )
        found.append((kind, worst))
    return found
