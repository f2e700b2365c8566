"""Blobs of a layer that are running statistics: they are stored with the weights, and no solver learns them."""

from __future__ import annotations

from collections.abc import Iterable

from ...layer import Layer


def not_learned(layer: Layer, indices: Iterable[int]) -> None:
    """Set the lr_mult of these blobs to 0, and refuse any other value in the prototxt."""
    specs = layer.param.param
    for i in indices:
        while len(specs) < i:
            specs.add()
        if len(specs) == i:
            specs.add(lr_mult=0)
        elif specs[i].lr_mult != 0:
            layer.error(
                f"the lr_mult of blob {i} is {specs[i].lr_mult:g}, but it is not learned: it is a running statistic",
                "write lr_mult: 0 in its param, or leave all params out",
            )
