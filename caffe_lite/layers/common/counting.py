"""Layers that count their Forwards."""

from __future__ import annotations

from ...blobs import Blob
from ...layer import Layer
from ...ops.array import Array


class CountingLayer(Layer):
    """A layer that counts its Forwards; a snapshot holds the number."""

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
