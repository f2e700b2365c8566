"""The face of a Net that pycaffe's scripts know (original: python/caffe/pycaffe.py)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from .blob import HostBlob, HostBlobs
from .errors import NetError

if TYPE_CHECKING:
    from .layer import Layer
    from .loading import LoadReport
    from .net import Graph


class HostLayer:
    """A layer as pycaffe shows it: its type and its blobs."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    @property
    def type(self) -> str:
        return self._layer.type

    @property
    def blobs(self) -> HostBlobs:
        return HostBlobs(self._layer.blobs, self._layer.ops)

    def __repr__(self) -> str:
        return f"<{self.type} layer {self._layer.name!r}>"


class Callbacks:
    """What is called with a layer's index when that layer has run, or is about to, by the name of the moment."""

    def __init__(self) -> None:
        self._at: dict[str, list[Callable[[int], Any]]] = {}

    def add(self, moment: str, callback: Callable[[int], Any]) -> None:
        self._at.setdefault(moment, []).append(callback)

    def call(self, moment: str, index: int) -> None:
        for callback in self._at.get(moment, ()):
            callback(index)

    def __bool__(self) -> bool:
        return bool(self._at)


class PycaffeNet:
    """Names, arrays and calls of pycaffe's Net.

    The names with an underscore are those of the original's C++ face, which some scripts use.
    """

    _caffe_graph: Graph

    def __getattr__(self, name: str) -> Any:
        graph = self.__dict__.get("_caffe_graph")
        if graph is None or not (name in vars(graph) or hasattr(type(graph), name)):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(graph, name)

    @property
    def blobs(self) -> OrderedDict[str, HostBlob]:
        """Every blob by name, in the order in which layers make them."""
        return OrderedDict((name, HostBlob(blob)) for name, blob in self._caffe_graph._blob.items())

    @property
    def inputs(self) -> list[str]:
        """The blobs to fill before a forward pass."""
        return self._caffe_graph.inputs

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads."""
        return self._caffe_graph.outputs

    @property
    def params(self) -> OrderedDict[str, HostBlobs]:
        """The learnable blobs of each layer that has some, by layer name."""
        return OrderedDict(
            (node.name, HostBlobs(node.layer.blobs, self._caffe_graph.ops))
            for node in self._caffe_graph.nodes
            if node.layer.blobs
        )

    @property
    def layers(self) -> list[Any]:
        """The layers; a Python layer is the object of the user's class."""
        return [getattr(node.layer, "user_layer", None) or HostLayer(node.layer) for node in self._caffe_graph.nodes]

    @property
    def layer_dict(self) -> OrderedDict[str, Any]:
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self._caffe_graph.nodes]

    @property
    def _blob_names(self) -> list[str]:
        return list(self._caffe_graph._blob)

    @property
    def _blobs(self) -> list[HostBlob]:
        return [HostBlob(blob) for blob in self._caffe_graph._blob.values()]

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _bottom_ids(self, layer_index: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._caffe_graph.nodes[layer_index].bottom_names]

    def _top_ids(self, layer_index: int) -> list[int]:
        return [self._blob_names.index(name) for name in self._caffe_graph.nodes[layer_index].top_names]

    def _forward(self, start: int, end: int) -> float:
        return self._caffe_graph.ops.number(self._caffe_graph.forward_pass(start, end))

    def _backward(self, start: int, end: int) -> None:
        self._caffe_graph.backward_pass(start, end)

    def before_forward(self, callback: Callable[[int], Any]) -> None:
        """Call this with a layer's index before it runs forward. With callbacks nothing is fused or compiled."""
        self._caffe_graph.callbacks.add("before_forward", callback)

    def after_forward(self, callback: Callable[[int], Any]) -> None:
        """Call this with a layer's index after it ran forward."""
        self._caffe_graph.callbacks.add("after_forward", callback)

    def before_backward(self, callback: Callable[[int], Any]) -> None:
        """Call this with a layer's index before it runs backward."""
        self._caffe_graph.callbacks.add("before_backward", callback)

    def after_backward(self, callback: Callable[[int], Any]) -> None:
        """Call this with a layer's index after it ran backward."""
        self._caffe_graph.callbacks.add("after_backward", callback)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((node.name, list(node.bottom_names)) for node in self._caffe_graph.nodes)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((node.name, list(node.top_names)) for node in self._caffe_graph.nodes)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of each blob in the net's loss."""
        weights = OrderedDict.fromkeys(self._caffe_graph._blob, 0.0)
        for node in self._caffe_graph.nodes:
            weights.update(zip(node.top_names, node.loss_weights, strict=True))
        return weights

    def reshape(self) -> None:
        """Give every blob the shape that follows from the inputs' shapes."""
        self._caffe_graph.reshape()

    def clear_param_diffs(self) -> None:
        self._caffe_graph.clear_param_diffs()

    def copy_from(self, weights: str | os.PathLike[str]) -> LoadReport:
        """Load parameters by layer name from one file or several joined by commas; tells what became of each layer.

        Layers of the file that the net lacks are ignored, layers of the net that the file lacks keep what they have.
        Nothing is changed if something does not fit: another number of blobs, or shapes that differ in more than
        leading 1s.
        """
        return self._caffe_graph.copy_from(weights)

    def share_with(self, other: PycaffeNet) -> None:
        """Use the other net's parameters, by layer name, as the original's test nets use the train net's."""
        self._caffe_graph.share_with(other._caffe_graph)

    def save(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write a .caffemodel."""
        self._caffe_graph.save(path, write_diff)

    def save_hdf5(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write a .caffemodel.h5; parameters that layers share are written once, with their owner."""
        self._caffe_graph.save_hdf5(path, write_diff)

    def load_hdf5(self, path: str | os.PathLike[str]) -> LoadReport:
        return self._caffe_graph.copy_from(path)

    def close(self) -> None:
        """Stop the threads and close the files of data layers."""
        self._caffe_graph.close()

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **inputs: Any
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end`` (names, both included); the outputs, and ``blobs`` beside them.

        With keyword arguments, one for each input of the net, fills those first.
        """
        first = _index(self._caffe_graph, start) if start is not None else 0
        last = _index(self._caffe_graph, end) if end is not None else len(self._caffe_graph.nodes) - 1
        wanted = [*(self._caffe_graph.nodes[last].top_names if end is not None else self.outputs), *(blobs or ())]
        _known(self._caffe_graph, wanted)
        if inputs:
            _fill(self._caffe_graph, inputs, self.inputs, "input", "data")
        self._caffe_graph.forward_pass(first, last, wanted)
        return {name: HostBlob(self._caffe_graph._blob[name]).data for name in dict.fromkeys(wanted)}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **outputs: Any
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` back to ``end``; the diffs of the inputs, and those of ``diffs`` beside them.

        With keyword arguments, one for each output of the net, fills those blobs' diffs first. Parameters' diffs
        accumulate until they are set to zero.

        A layer that has not run forward over bottoms of these shapes goes by its bottoms as they stand in the blobs:
        what it must know for its gradient it computes from them. No blob's data, parameter, state or random number is
        another afterwards, and only diffs that belong to the gradient are written; a top whose shape does not follow
        from the bottoms (they were reshaped, or Filter chooses by values) is given the one that does. The original
        takes whatever lies in its buffers then: for many layers zeros, or memory that was never written, where this is
        the gradient at the bottoms. Layers without bottoms, HDF5Output and Python layers are not run for it.
        """
        first = _index(self._caffe_graph, start) if start is not None else len(self._caffe_graph.nodes) - 1
        last = _index(self._caffe_graph, end) if end is not None else 0
        wanted = [*(self._caffe_graph.nodes[last].bottom_names if end is not None else self.inputs), *(diffs or ())]
        _known(self._caffe_graph, wanted)
        if outputs:
            _fill(self._caffe_graph, outputs, self.outputs, "output", "diff")
        self._caffe_graph.backward_pass(first, last)
        return {name: HostBlob(self._caffe_graph._blob[name]).diff for name in dict.fromkeys(wanted)}

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """Run ``forward`` in batches over inputs of any length, also of none; the outputs of every item."""
        wanted = list(dict.fromkeys([*self.outputs, *(blobs or ())]))
        gathered: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        for batch, count in _batches(self._caffe_graph, inputs):
            for name, values in self.forward(wanted, None, None, **batch).items():
                gathered[name].extend(values[:count].copy() if values.ndim else [values.copy()])
        return {name: _together(self._caffe_graph, name, values) for name, values in gathered.items()}

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Run ``forward`` and ``backward`` in batches; keyword arguments fill inputs, and diffs of outputs."""
        outs = list(dict.fromkeys([*self.outputs, *(blobs or ())]))
        ins = list(dict.fromkeys([*self.inputs, *(diffs or ())]))
        all_outs: dict[str, list[np.ndarray]] = {name: [] for name in outs}
        all_diffs: dict[str, list[np.ndarray]] = {name: [] for name in ins}
        top_diffs = {name: arrays[name] for name in arrays if name in self.outputs}
        inputs = {name: arrays[name] for name in arrays if name not in top_diffs}
        for (batch, count), (diff_batch, _) in zip(
            _batches(self._caffe_graph, inputs),
            _batches(self._caffe_graph, top_diffs) if top_diffs else _forever(({}, 0)),
            strict=False,
        ):
            for name, values in self.forward(outs, None, None, **batch).items():
                all_outs[name].extend(values[:count].copy() if values.ndim else [values.copy()])
            for name, values in self.backward(ins, None, None, **diff_batch).items():
                all_diffs[name].extend(values[:count].copy() if values.ndim else [values.copy()])
        return (
            {name: _together(self._caffe_graph, name, values) for name, values in all_outs.items()},
            {name: _together(self._caffe_graph, name, values) for name, values in all_diffs.items()},
        )

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Let the net's MemoryData layer, or the first of several, take its batches from these arrays."""
        for node in self._caffe_graph.nodes:
            if node.layer.type == "MemoryData":
                node.layer.set_input_arrays(data, labels)  # type: ignore[attr-defined]
                return
        raise NetError("the net has no MemoryData layer", hint="fill its inputs: net.blobs[name].data[...] = array")

    _set_input_arrays = set_input_arrays


def _index(graph: Graph, layer_name: str) -> int:
    return graph.nodes.index(graph.node(layer_name))


def _known(graph: Graph, names: Sequence[str]) -> None:
    for name in names:
        if name not in graph._blob:
            raise NetError(f"the net has no blob {name!r}", hint=f"its blobs: {', '.join(graph._blob)}")


def _fill(graph: Graph, arrays: Mapping[str, Any], expected: Sequence[str], kind: str, attribute: str) -> None:
    if set(arrays) != set(expected):
        raise NetError(
            f"{kind} arguments {sorted(arrays)} do not match the net's {kind}s {sorted(expected)}",
            hint=f"give each {kind} once",
        )
    for name, values in arrays.items():
        blob, values = HostBlob(graph._blob[name]), np.asarray(values)
        if values.shape != blob.shape and values.shape[:1] != blob.shape[:1]:
            raise NetError(
                f"{kind} {name!r} is of shape {values.shape}, the blob of {blob.shape}",
                hint=f"fill the batch, or reshape first: net.blobs[{name!r}].reshape(*array.shape)",
            )
        try:
            getattr(blob, attribute)[...] = values
        except ValueError:
            raise NetError(
                f"{kind} {name!r} is of shape {values.shape}, the blob of {blob.shape}",
                hint=f"reshape the array, or the blob: net.blobs[{name!r}].reshape(*array.shape)",
            ) from None


def _batches(graph: Graph, arrays: Mapping[str, Any]) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Batches that fill the blobs, the last one filled up with zeros, and how many of its items are real."""
    if not arrays:
        raise NetError("no arrays are given", hint="pass one array per input, as keyword arguments")
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1:
        raise NetError(f"the arrays have different lengths: {sorted(lengths)}")
    first_name, (length,) = next(iter(arrays)), lengths
    size = sum(graph._blob[first_name].shape[:1])
    if length and not size:
        raise NetError(
            f"the batch of {first_name!r} holds nothing: its shape is {graph._blob[first_name].shape}",
            hint=f"give it the size to go on by: net.blobs[{first_name!r}].reshape(...)",
        )
    for first in range(0, length, max(1, size)):
        batch = {name: np.asarray(values[first : first + size]) for name, values in arrays.items()}
        count = len(next(iter(batch.values())))
        if count < size:
            batch = {
                name: np.concatenate([values, np.zeros((size - count, *values.shape[1:]), values.dtype)])
                for name, values in batch.items()
            }
        yield batch, count


def _together(graph: Graph, name: str, items: Sequence[np.ndarray]) -> np.ndarray:
    """The items of a blob in one array, which keeps their shape where there are none."""
    if items:
        return np.asarray(items)
    return graph.ops.host_view(graph.ops.zeros((0, *graph._blob[name].shape[1:])))


def _forever(item: Any) -> Iterator[Any]:
    while True:
        yield item


def __getattr__(name: str) -> Any:
    """Nets and solvers, which pycaffe has in this module, too."""
    if name == "Net" or name.endswith("Solver"):
        return getattr(import_module(__package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
