"""Loading trained weights into a net, by the names of layers, like the original's CopyTrainedLayersFrom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import dropwhile
from math import prod

import numpy as np

from ..blobs import Blob
from ..errors import WeightsError
from ..logs.log import logger
from .structure import Structure
from .weights import LayerWeights
from .wiring import Node, by_name


@dataclass
class LoadReport:
    """The outcome for the layers of weights files, and for the net's layers that learn: names, in their order there.

    Attributes:
        loaded: layers of the net that took weights from a file.
        reshaped: those of them whose shapes in a file differ in leading 1s.
        ignored: layers with weights in a file that the net does not have.
        kept: layers of the net that no file has; they keep their values.
    """

    loaded: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def load(net: Structure, sources: Sequence[tuple[str, Sequence[LayerWeights]]]) -> LoadReport:
    """Load the layers of several files, each with its name, one after another; or nothing, if something does not fit.

    A layer does not fit if the number of blobs differs, or if shapes differ in more than leading 1s. Blobs that layers
    share may be missing in a file that has them with their owner only.
    """
    report = LoadReport()
    todo: list[tuple[Blob, np.ndarray]] = []
    nodes = by_name(net.nodes)
    owned = {(param.owner.name, param.index) for param in net.learnable_params}
    loaded: dict[str, None] = {}
    reshaped: dict[str, None] = {}
    for file, layers in sources:
        learned = Counter(stored.name for stored in layers if stored.blobs)
        for stored in layers:
            node = nodes.get(stored.name)
            if node is None:
                logger.info("Ignoring source layer %s", stored.name)
                if stored.blobs:
                    report.ignored.append(stored.name)
            elif stored.blobs or not learned[stored.name]:
                if learned[stored.name] > 1:
                    raise _error(
                        node,
                        f"{file} holds {learned[stored.name]} layers of this name",
                        "rename them in the net that the file is of, and save it anew: nobody can tell which is meant",
                    )
                pairs, odd = _plan(node, file, stored, owned)
                todo += pairs
                loaded.update({node.name: None} if pairs else {})
                reshaped.update({node.name: None} if odd else {})
    for blob, array in todo:
        blob.data[...] = net.ops.asarray(array.reshape(blob.shape))
    report.loaded, report.reshaped = list(loaded), list(reshaped)
    report.kept = [node.name for node in net.nodes if node.layer.blobs and node.name not in loaded]
    if report.kept:
        logger.info("Not in %s, kept as they are: %s", ", ".join(file for file, _ in sources), ", ".join(report.kept))
    return report


def _error(node: Node, what: str, hint: str) -> WeightsError:
    return WeightsError(what, where=node.where, layer=node.name, layer_type=node.layer.type, hint=hint)


def _plan(
    node: Node, file: str, stored: LayerWeights, owned: Set[tuple[str, int]]
) -> tuple[list[tuple[Blob, np.ndarray]], bool]:
    """Return the blobs and the arrays to load into them, and whether a shape differs in leading 1s."""
    blobs = node.layer.blobs
    arrays = [*node.layer.fitted(stored.blobs), *[None] * (len(blobs) - len(stored.blobs))]
    if len(arrays) > len(blobs) or any(array is None and (node.name, i) in owned for i, array in enumerate(arrays)):
        raise _error(
            node,
            f"{file} holds {sum(a is not None for a in arrays)} blobs for this layer, the net has {len(blobs)}",
            "rename the layer to learn it from scratch, or make it as the file's was",
        )
    pairs = [(blob, array) for blob, array in zip(blobs, arrays, strict=True) if array is not None]
    reshaped = False
    for index, (blob, array) in enumerate(zip(blobs, arrays, strict=True)):
        if array is None or array.shape == blob.shape:
            continue
        if without_leading_ones(array.shape) != without_leading_ones(blob.shape):
            raise _error(
                node,
                f"cannot copy param {index} from {file}: its shape is {_shape(array.shape)}, "
                f"the net's is {_shape(blob.shape)}",
                "to learn this layer from scratch rather than copy it, rename the layer",
            )
        logger.info(
            "Reshaping param %d of source layer %s from %s to %s",
            *(index, stored.name, _shape(array.shape), _shape(blob.shape)),
        )
        reshaped = True
    return pairs, reshaped


def without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape for comparisons: Caffe's old files fill shapes up with leading 1s to four axes."""
    return tuple(dropwhile(lambda n: n == 1, shape))


def _shape(shape: Sequence[int]) -> str:
    return f"{' '.join(map(str, shape))} ({prod(shape)})"
