"""How workers begin alike: with the parameters of the first, and at its place in the data."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import zip_longest

from ..blobs import Blob
from ..errors import WorkerError
from ..net.graph import Graph
from ..net.wiring import Param
from ..ops.array import Array
from ..ops.base import Ops
from .group import Group


def check_alike(group: Group, graph: Graph, settings: Sequence[str]) -> None:
    """Raise a WorkerError if the workers differ in their settings, or in the learnable parameters of their nets."""
    mine = [*settings, *map(_described, graph.learnable_params)]
    for rank, theirs in enumerate(group.gathered(mine)):
        if theirs != mine:
            pairs = zip_longest(theirs, mine, fillvalue="nothing more")
            there, here = next((there, here) for there, here in pairs if there != here)
            raise WorkerError(
                f"worker {rank} works in another way than worker {group.rank}: there {there}, here {here}",
                hint="give all workers the same files and options",
            )


def _described(learned: Param) -> str:
    name, shape = f"{learned.owner.name}[{learned.index}]", learned.blob.shape
    return f"{name} {shape}, lr_mult {learned.lr_mult:g}, decay_mult {learned.decay_mult:g}"


def check_same(group: Group, graph: Graph) -> None:
    """Raise a WorkerError if the learned parameters differ, of which only the gradients are exchanged."""
    learned = [param for param in graph.learnable_params if param.lr_mult]
    sums = [zlib.crc32(graph.ops.host_view(param.blob.data).tobytes()) for param in learned]
    for rank, theirs in enumerate(group.gathered(sums)):
        for param, one, other in zip(learned, theirs, sums, strict=True):
            if one != other:
                raise WorkerError(
                    f"worker {rank} begins with other parameters than worker {group.rank}",
                    layer=param.owner.name,
                    layer_type=param.owner.layer.type,
                    hint="call nccl.bcast() before training, or load the same weights into all of them",
                )


def parameters_of(graph: Graph) -> list[Blob]:
    """Return every parameter of a net once, learned or not."""
    return list({id(blob.source): blob.source for node in graph.nodes for blob in node.layer.blobs}.values())


def take_first(group: Group, ops: Ops[Array], arrays: Sequence[Array]) -> None:
    """Overwrite arrays by the first worker's."""
    first = group.shared_arrays([ops.host_view(array) for array in arrays])
    if group.rank:
        for mine, values in zip(arrays, first, strict=True):
            mine[...] = ops.asarray(values)
