"""Exporting a net to ONNX, verified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..agreement.comparing import Comparison, compare
from ..agreement.onnx_running import OnnxRun
from ..errors import ArgumentError, CaffeError, NetError
from ..ops.windows import by
from ..proto.caffe_pb2 import TEST
from ..pycaffe.net import Net
from .folding import fold as folded
from .folding import net_of
from .onnx_file import OPSETS, is_large, model_of, save
from .preparing import ImageInput, Preparing
from .writing import WrittenNet, write


@dataclass
class Export:
    """What has been exported, and how well it agrees with the net.

    ``free_batch`` is whether any number of items may be given; ``why_fixed`` says why not, if that was not asked for.
    """

    written: WrittenNet
    comparisons: Sequence[Comparison]
    free_batch: bool
    why_fixed: str = ""

    def report(self) -> Iterator[str]:
        """Yield lines about the graph: its ends, what is not in it, and how it agrees with the net."""
        for end, values in (("input", self.written.graph.inputs), ("output", self.written.graph.outputs)):
            for value in values:
                sizes = (self.written.free.get((value.name, i), n) for i, n in enumerate(value.sizes))
                yield f"{end} {value.name}: {by(sizes)}"
        if self.why_fixed:
            yield f"the number of items is fixed: {self.why_fixed}"
        if losses := [node.name for node in self.written.left_out if node.layer.type != "Split"]:
            yield f"left out, because they only train or report: {', '.join(losses)}"
        yield from map(str, self.comparisons)


def to_onnx(
    net: Net,
    path: str | os.PathLike[str],
    *,
    batch: int | str | None = None,
    opset: int = 17,
    fold: bool = True,
    images: ImageInput | None = None,
) -> Export:
    """Write a net that is in TEST, with its present weights, to an ONNX file; return what was written.

    Blobs keep their names. The tops of data layers are inputs; losses and accuracies are left out.

    Args:
        batch: "free" for any number of items, a number for exactly so many. By default, any number if every layer
            allows it, else the net's own.
        opset: the version of ONNX's operators, 13 to 21.
        fold: merge BatchNorm, Scale and Bias into the weights before them.
        images: let the graph take images, and prepare them for the net. By default, it takes what the net takes.

    The written graph is run over random, zero and large inputs, and compared with the net; if an output differs by more
    than 1e-4 of its spread, NetError names the first blob that does, and nothing is left behind.
    """
    if opset not in OPSETS:
        raise ArgumentError(f"opset is {opset}", hint=f"use {OPSETS[0]} to {OPSETS[-1]}")
    if net.phase != TEST:
        raise ArgumentError("the net is for TRAIN", hint="make it for TEST: caffe.Net(file, caffe.TEST)")
    if not (batch in (None, "free") or (isinstance(batch, int) and batch > 0)):
        raise ArgumentError(f"batch is {batch!r}", hint='give a number of items, or "free"')
    if isinstance(batch, int):
        reshape_batch(net, batch)
    source = net_of(folded(net), net) if fold else net
    why_fixed = ""
    try:
        written = write(source, opset, free_batch=not isinstance(batch, int))
    except CaffeError as error:
        if batch is not None:
            raise
        why_fixed = str(error)
        written = write(source, opset, free_batch=False)
    preparing = None if images is None else Preparing(net, written.inputs, images)
    if preparing:
        preparing.prepend(written)
    comparisons = verified(net, source, written, preparing)
    notes = {"caffe_lite.verified": "\n".join(map(str, comparisons))}
    save(model_of(written, net.name, notes), path)
    return Export(written, comparisons, written.free_batch, why_fixed)


def reshape_batch(net: Net, size: int) -> None:
    """Give the first axis of the net's inputs a size: all those that have the size of the first one's."""
    first = net.blobs[net.inputs[0]].data.shape[:1] if net.inputs else ()
    for name in net.inputs:
        shape = net.blobs[name].data.shape
        if shape[:1] == first:
            net.blobs[name].reshape(size, *shape[1:])
    net.reshape()


def verified(net: Net, source: Net, written: WrittenNet, preparing: Preparing | None = None) -> list[Comparison]:
    """Compare a net with the graph that was written from ``source``, the net itself or what it was folded to."""

    def compared(graph: WrittenNet) -> list[Comparison]:
        trials = preparing.trials(net, graph) if preparing else None
        return compare(net, graph.inputs, written.outputs, runner(graph), trials)

    try:
        return compared(written)
    except NetError as error:
        inputs = preparing.names if preparing else written.inputs
        everything = write(source, written.graph.opset, written.free_batch, outputs=_shared(net, written, inputs))
        if preparing:
            preparing.prepend(everything)
        compared(everything)
        raise error


def _shared(net: Net, written: WrittenNet, inputs: Sequence[str]) -> list[str]:
    return [name for name in net.blobs if name in written.values and name not in inputs]


def runner(written: WrittenNet) -> OnnxRun:
    """Return what runs a written net."""
    model = model_of(written, "net")
    if not is_large(model):
        return OnnxRun(model.SerializeToString())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, "net.onnx")
        save(model, path)
        return OnnxRun(path)
