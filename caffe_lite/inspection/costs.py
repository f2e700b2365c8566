"""The costs of a net: parameters, values in its blobs, multiply-adds; and the form in which they are written."""

from __future__ import annotations

from dataclasses import dataclass

from ..blobs.unknown import Shape, Size, UnknownSize
from ..net.wiring import Node
from .outline import Outline, shape_of


@dataclass
class Totals:
    """A whole net's parameters, shared ones counted once, values in its blobs, and multiply-adds of a forward pass."""

    parameters: Size
    values: Size
    multiply_adds: Size


def totals(net: Outline) -> Totals:
    shared = {id(param.blob): param.blob.count for param in net.params}
    unshared = {id(blob): blob.count for node in net.nodes for blob in node.layer.blobs if shape_of(blob) is None}
    blobs = {id(blob): blob.count for node in net.nodes for blob in node.top}
    return Totals(
        sum((shared | unshared).values()), sum(blobs.values()), sum(multiply_adds(node) for node in net.nodes)
    )


def multiply_adds(node: Node) -> Size:
    """Count the multiply-adds of a layer's matrix products in one forward pass; unknown if a shape is unknown."""
    layer = node.layer
    if layer.has_weights and not layer.blobs:  # it could not be set up
        return UnknownSize()
    if layer.blobs and any(shape_of(blob) is None for blob in (*node.bottom, *node.top, *layer.blobs)):
        return UnknownSize()
    return layer.multiply_adds(node.bottom, node.top)


def shape_text(shape: Shape | None) -> str:
    return "?" if shape is None else " x ".join(map(str, shape)) or "scalar"


def memory(count: Size) -> str:
    """Write the memory for this number of float32 values, in the unit that suits."""
    if isinstance(count, UnknownSize):
        return "?"
    value = 4.0 * count
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
