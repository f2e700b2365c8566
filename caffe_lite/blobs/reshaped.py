"""A blob in another shape, over the same storage: parameters that layers share under PERMISSIVE."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops.array import Array
from .blob import Blob
from .later import Later


class ReshapedBlob(Blob):
    """Reads and writes the arrays of another blob, its owner, in a shape of its own."""

    __slots__ = ("owner",)

    def __init__(self, owner: Blob, shape: Sequence[int]) -> None:
        super().__init__(owner.ops, shape)
        self.owner = owner

    @property
    def source(self) -> Blob:
        return self.owner.source

    @property
    def data(self) -> Array:
        return self.owner.data.reshape(self._shape)

    @data.setter
    def data(self, array: Array | Later) -> None:
        assert not isinstance(array, Later)
        self.owner.data = array.reshape(self.owner.shape)

    @property
    def diff(self) -> Array:
        return self.owner.diff.reshape(self._shape)

    @diff.setter
    def diff(self, array: Array | Later) -> None:
        assert not isinstance(array, Later)
        self.owner.diff = array.reshape(self.owner.shape)

    @property
    def has_diff(self) -> bool:
        return self.owner.has_diff

    def add_diff(self, gradient: Array) -> None:
        self.owner.add_diff(gradient.reshape(self.owner.shape))

    def clear_diff(self) -> None:
        self.owner.clear_diff()
