"""Layers that pass values from one pass to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...blobs import Blob
from ...layer import Layer
from ...ops.array import Array


class CarryingLayer(Layer):
    """A layer whose blobs in ``carried`` a snapshot holds."""

    def state(self) -> Any:
        return [self.ops.host_view(blob.data).tolist() for blob in self.carried] or None

    def restore_state(self, state: Any) -> None:
        for blob, values in zip(self.carried, state, strict=True):
            array = self.ops.asarray(np.array(values))
            blob.Reshape(array.shape)
            blob.data = array


class CountingLayer(CarryingLayer):
    """A layer that counts its Forwards."""

    def count_from(self, number: int) -> None:
        """Start to count from a number."""
        counter = Blob(self.ops, (1,))
        counter.data = self.ops.full((1,), number)
        self.carried = [counter]

    def counted(self) -> Array:
        """Return the number of this Forward, as (1,), and count it."""
        number = self.carried[0].data
        self.carried[0].data = number + 1.0
        return number
