"""Finds where a net's numbers stopped being finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SolverError

if TYPE_CHECKING:
    from ..blobs import Blob
    from ..net.graph import Graph
    from ..net.wiring import Node
    from ..ops import Array


def divergence(net: Graph, iteration: int, loss: float) -> SolverError:
    """Return an error that names the first layer and blob that are not finite: data and parameters, then diffs."""
    what = f"the loss is {loss:g} in iteration {iteration}"
    hint = "lower base_lr, set clip_gradients, or look for such values in the data; earlier snapshots are unharmed"
    for node, name, array in _in_order(net):
        if not np.isfinite(net.ops.host_view(array)).all():
            return SolverError(
                f"{what}: not finite first in {name}",
                where=node.where,
                layer=node.name,
                layer_type=node.layer.type,
                hint=hint,
            )
    return SolverError(f"{what}, though every blob is finite: it is too large for a float", hint=hint)


def _in_order(net: Graph) -> Iterator[tuple[Node, str, Array]]:
    for node in net.nodes:
        for name, blob in _params(node) + list(zip(node.top_names, node.top, strict=True)):
            yield node, f"the data of {name}", blob.data
    for node in reversed(net.nodes):
        for name, blob in list(zip(node.bottom_names, node.bottom, strict=True)) + _params(node):
            if blob.has_diff:
                yield node, f"the diff of {name}", blob.diff


def _params(node: Node) -> list[tuple[str, Blob]]:
    return [(f"param {index}", blob) for index, blob in enumerate(node.layer.blobs)]
