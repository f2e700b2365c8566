"""Means of a net's outputs over batches: the results of a test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..blobs import Blob
from ..errors import NetError
from .structure import Structure


class Scores:
    """The sums of a net's outputs over the batches that it ran, value by value.

    An output whose shape changes from one batch to the next has no mean: this is a NetError (the original adds up
    values at the same place in memory).
    """

    def __init__(self, net: Structure) -> None:
        self.net = net
        self.batches = 0
        self._sums = {name: np.zeros(()) for name in net.outputs}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the outputs of the batch that the net has just run, by name, in double precision."""
        return {name: flat_values(blob).reshape(blob.shape) for name, blob, _ in self.net.output_blobs}

    def add(self, outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Add a batch, that which the net has just run unless others are given; return its outputs by name, flat."""
        outputs = self.outputs() if outputs is None else outputs
        for name, values in outputs.items():
            if self._shapes.setdefault(name, values.shape) != values.shape:
                raise self._changed(name, values.shape)
        flat = {name: values.ravel() for name, values in outputs.items()}
        for name, values in flat.items():
            self._sums[name] = self._sums[name] + values
        self.batches += 1
        return flat

    def means(self) -> dict[str, np.ndarray]:
        """Return the mean of each output by name, flat; the dict is empty if there were no batches."""
        return {name: total / self.batches for name, total in self._sums.items() if self.batches}

    def _changed(self, name: str, shape: tuple[int, ...]) -> NetError:
        maker = next(node for node in reversed(self.net.nodes) if name in node.top_names)
        return maker.error(
            f"output {name!r} has shape {shape} in batch {self.batches} and {self._shapes[name]} before it, "
            "so it has no mean over the batches",
            "make one value of it with a Reduction, or let a Silence layer read it",
        )


def flat_values(blob: Blob) -> np.ndarray:
    """Return the values of a blob in double precision, on one axis."""
    return np.array(blob.ops.host_view(blob.data), np.float64).ravel()
