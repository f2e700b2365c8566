"""What every export of a net begins and ends with: its graph, and whether what is made of it agrees with the net."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..agreement.comparing import Comparison, Run, compare
from ..errors import ArgumentError, CaffeError, NetError
from ..ops.windows import by
from ..proto.caffe_pb2 import TEST
from ..pycaffe.net import Net
from .folding import fold as folded
from .folding import net_of
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
        """Yield lines about the graph: its ends, what is not in it or differs, and how it agrees with the net."""
        for end, values in (("input", self.written.graph.inputs), ("output", self.written.graph.outputs)):
            for value in values:
                sizes = (self.written.free.get((value.name, i), n) for i, n in enumerate(value.sizes))
                yield f"{end} {value.name}: {by(sizes)}"
        if self.why_fixed:
            yield f"the number of items is fixed: {self.why_fixed}"
        if losses := [node.name for node in self.written.left_out if node.layer.type != "Split"]:
            yield f"left out, because they only train or report: {', '.join(losses)}"
        yield from self.written.graph.notes
        yield from map(str, self.comparisons)


class Draft:
    """A net that is in TEST, written as a graph that is to be exported.

    Args:
        batch, fold, images: as for ``to_onnx``.

    Attributes:
        source: the net that is written, the given one or what it is folded to.
    """

    def __init__(
        self,
        net: Net,
        batch: int | str | None = None,
        opset: int = 17,
        fold: bool = True,
        images: ImageInput | None = None,
    ) -> None:
        if net.phase != TEST:
            raise ArgumentError("the net is for TRAIN", hint="make it for TEST: caffe.Net(file, caffe.TEST)")
        if not (batch in (None, "free") or (isinstance(batch, int) and batch > 0)):
            raise ArgumentError(f"batch is {batch!r}", hint='give a number of items, or "free"')
        if isinstance(batch, int):
            reshape_batch(net, batch)
        self.net = net
        self.source = net_of(folded(net), net) if fold else net
        self.why_fixed = ""
        try:
            self.written = write(self.source, opset, free_batch=not isinstance(batch, int))
        except CaffeError as error:
            if batch is not None:
                raise
            self.why_fixed = str(error)
            self.written = write(self.source, opset, free_batch=False)
        self.preparing = None if images is None else Preparing(net, self.written.inputs, images)
        if self.preparing:
            self.preparing.prepend(self.written)

    def verified(self, runner: Callable[[WrittenNet], Run]) -> Export:
        """Compare the net with what ``runner`` makes of graphs, the written one and others of the same net."""
        decided = [
            name for node in self.net.nodes if node.layer.decides for name in (*node.bottom_names, *node.top_names)
        ]
        graph = self._with_outputs([*self.written.outputs, *decided]) if decided else self.written
        try:
            comparisons = self._compared(graph, runner)
        except NetError as error:
            self._compared(self._with_outputs(self.net.blobs), runner)
            raise error
        return Export(self.written, comparisons, self.written.free_batch, self.why_fixed)

    def _compared(self, graph: WrittenNet, runner: Callable[[WrittenNet], Run]) -> list[Comparison]:
        trials = self.preparing.trials(self.net, graph) if self.preparing else None
        return compare(self.net, graph.inputs, self.written.outputs, runner(graph), trials)

    def _with_outputs(self, names: Iterable[str]) -> WrittenNet:
        """Return the graph of the same net that gives these blobs, as far as it has them."""
        written = self.written
        inputs = self.preparing.names if self.preparing else written.inputs
        shared = [name for name in dict.fromkeys(names) if name in written.values and name not in inputs]
        graph = write(self.source, written.graph.opset, written.free_batch, outputs=shared)
        if self.preparing:
            self.preparing.prepend(graph)
        return graph


def reshape_batch(net: Net, size: int) -> None:
    """Give the first axis of the net's inputs a size: all those that have the size of the first one's."""
    first = net.blobs[net.inputs[0]].data.shape[:1] if net.inputs else ()
    for name in net.inputs:
        shape = net.blobs[name].data.shape
        if shape[:1] == first:
            net.blobs[name].reshape(size, *shape[1:])
    net.reshape()
