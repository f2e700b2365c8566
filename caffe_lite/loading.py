"""Trained weights into a net, by the names of layers, as the original's CopyTrainedLayersFrom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .blob import Blob
from .errors import WeightsError
from .log import logger
from .weights import LayerWeights

if TYPE_CHECKING:
    from .net import Graph


@dataclass
class LoadReport:
    """What became of the layers of weights files, and of the net's layers that learn; names, in their order there.

    Attributes:
        loaded: layers of the net that took weights from a file.
        reshaped: those of them whose shapes in a file differ, in leading 1s.
        ignored: layers with weights in a file that the net has not.
        kept: layers of the net that no file has; they keep what they had.
    """

    loaded: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def load(net: Graph, sources: Sequence[tuple[str, Sequence[LayerWeights]]]) -> LoadReport:
    """Load the layers of several files, each with its name, one after the other; nothing, if something does not fit.

    What does not fit is another number of blobs, or shapes that differ in more than leading 1s. Blobs that the net
    shares and a file has with their owner only need not be there.
    """
    report = LoadReport()
    todo: list[tuple[Blob, np.ndarray]] = []
    for file, layers in sources:
        for stored in layers:
            todo += _plan(net, file, stored, report)
    for blob, array in todo:
        blob.data[...] = net.ops.asarray(array.reshape(blob.shape))
    report.kept = [node.name for node in net.nodes if node.layer.blobs and node.name not in report.loaded]
    if report.kept:
        logger.info("Not in %s, kept as they are: %s", ", ".join(file for file, _ in sources), ", ".join(report.kept))
    return report


def _plan(net: Graph, file: str, stored: LayerWeights, report: LoadReport) -> list[tuple[Blob, np.ndarray]]:
    node = next((node for node in net.nodes if node.name == stored.name), None)
    if node is None:
        logger.info("Ignoring source layer %s", stored.name)
        if stored.blobs:
            report.ignored.append(stored.name)
        return []

    def error(what: str, hint: str) -> WeightsError:
        return WeightsError(what, where=node.where, layer=node.name, layer_type=node.layer.type, hint=hint)

    blobs = node.layer.blobs
    owned = {param.index for param in net.learnable_params if param.owner is node}
    arrays = [*stored.blobs, *[None] * (len(blobs) - len(stored.blobs))]
    if len(arrays) > len(blobs) or any(array is None and i in owned for i, array in enumerate(arrays)):
        raise error(
            f"{file} holds {sum(a is not None for a in arrays)} blobs for this layer, the net has {len(blobs)}",
            "rename the layer to learn it from scratch, or make it as the file's was",
        )
    pairs = [(blob, array) for blob, array in zip(blobs, arrays, strict=True) if array is not None]
    for index, (blob, array) in enumerate(zip(blobs, arrays, strict=True)):
        if array is None or array.shape == blob.shape:
            continue
        if _without_leading_ones(array.shape) != _without_leading_ones(blob.shape):
            raise error(
                f"cannot copy param {index} from {file}: its shape is {_shape(array.shape)}, "
                f"the net's is {_shape(blob.shape)}",
                "to learn this layer from scratch rather than copy it, rename the layer",
            )
        logger.info(
            "Reshaping param %d of source layer %s from %s to %s",
            *(index, stored.name, _shape(array.shape), _shape(blob.shape)),
        )
        if node.name not in report.reshaped:
            report.reshaped.append(node.name)
    if pairs and node.name not in report.loaded:
        report.loaded.append(node.name)
    return pairs


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(shape)
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _shape(shape: Sequence[int]) -> str:
    return f"{' '.join(map(str, shape))} ({prod(shape)})"
