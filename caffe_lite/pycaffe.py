"""The face of a Net that pycaffe's scripts know (original: python/caffe/pycaffe.py)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from .blob import HostBlob, HostBlobs
from .errors import ArgumentError, LayerError, NetError, ShapeError, UnknownName
from .ops import set_device, set_mode_cpu, set_mode_gpu
from .proto import caffe_pb2

if TYPE_CHECKING:
    from .layer import Layer
    from .loading import LoadReport
    from .net import Graph


class Phase(int):
    """TRAIN or TEST as Python layers have met it over the years: a number, and its name as text."""

    def __str__(self) -> str:
        return caffe_pb2.Phase.Name(self)


class MissingMethod(LayerError, AttributeError):
    """The class of a Python layer lacks a method; an AttributeError in pycaffe."""


class UserLayer:
    """What users derive their layers from: pycaffe's ``caffe.Layer``.

    A layer defines ``reshape`` and ``forward``, ``backward`` if a gradient passes through it, and ``setup`` if it has
    anything to prepare. They are given lists of blobs whose ``data`` and ``diff`` are NumPy arrays to be written into
    (``top[0].data[...] = ...``), and ``reshape`` calls ``top[0].reshape(n, c, h, w)``. Before every forward pass
    ``data`` of the tops holds what it held after the last; before every backward pass ``diff`` of the bottoms is 0.

    Attributes:
        param_str: the text in python_param, for the layer to read its settings from; also ``param_str_``.
        phase: 0 in TRAIN, 1 in TEST; as text it is "TRAIN" or "TEST".
        blobs: the learnable blobs; ``setup`` adds them with ``self.blobs.add_blob(*shape)``, ``backward`` adds into
            their ``diff``.
    """

    type: str = "Python"
    param_str: str
    param_str_: str
    phase: int
    blobs: HostBlobs

    def __init__(self, param: caffe_pb2.LayerParameter) -> None:
        """A subclass seldom needs its own: ``setup`` is the place to prepare."""

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Called once, with the bottoms shaped."""

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Called before every forward pass: give the tops their shapes."""
        raise missing_method(self, "reshape")


def missing_method(user_layer: Any, name: str) -> MissingMethod:
    """What is wrong with a layer of a user's that lacks a method."""
    cls = type(user_layer)
    return MissingMethod(
        f"class {cls.__module__}.{cls.__qualname__} has no method {name}",
        hint="derive it from caffe_lite.Layer and define it",
    )


class HostLayer(UserLayer):
    """A layer of the package as pycaffe shows it."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self.type = layer.type
        self.phase = Phase(layer.phase)
        self.blobs = HostBlobs(layer.blobs, layer.ops)

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Read the parameters again, for these bottoms and tops; the learnable blobs stay as they are."""
        layer, random = self._layer, self._layer.rng.bit_generator.state
        kept, layer.blobs = layer.blobs, []
        try:
            layer.Setup([blob.blob for blob in bottom], [blob.blob for blob in top])
        finally:
            layer.blobs, layer.rng.bit_generator.state = kept, random

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Give these tops the shapes that follow from these bottoms."""
        self._layer.Reshape([blob.blob for blob in bottom], [blob.blob for blob in top])

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
        return OrderedDict((name, blob.shown) for name, blob in self._caffe_graph._blob.items())

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
        graph = self._caffe_graph
        return OrderedDict(
            (node.name, blobs) for node, blobs in zip(graph.nodes, graph.blob_vecs, strict=True) if blobs
        )

    @property
    def layers(self) -> list[Any]:
        """The layers; a Python layer is the object of the user's class."""
        return list(self._caffe_graph.shown_layers)

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
        return [blob.shown for blob in self._caffe_graph._blob.values()]

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

        A file whose name has commas is one file. Layers of the file that the net lacks are ignored, layers of the net
        that the file lacks keep what they have.
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
        graph = self._caffe_graph
        first = _index(graph, start) if start is not None else 0
        last = _index(graph, end) if end is not None else len(graph.nodes) - 1
        wanted = [*(graph.nodes[last].top_names if end is not None else graph.outputs), *(blobs or ())]
        _known(graph, wanted)
        if inputs:
            _fill(graph, inputs, graph.inputs, "input", "data")
        graph.forward_pass(first, last, wanted)
        return {name: graph._blob[name].shown.data for name in dict.fromkeys(wanted)}

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
        graph = self._caffe_graph
        first = _index(graph, start) if start is not None else len(graph.nodes) - 1
        last = _index(graph, end) if end is not None else 0
        wanted = [*(graph.nodes[last].bottom_names if end is not None else graph.inputs), *(diffs or ())]
        _known(graph, wanted)
        if outputs:
            _fill(graph, outputs, graph.outputs, "output", "diff")
        graph.backward_pass(first, last)
        return {name: graph._blob[name].shown.diff for name in dict.fromkeys(wanted)}

    forward_simple, backward_simple = forward, backward

    def backward_from_layer(
        self, start_name: str, start_diff: Any, diffs: Sequence[str] | None = None, zero_higher: bool = False
    ) -> dict[str, np.ndarray]:
        """Fill the diff of the blob ``start_name`` and run back from the layer of that name to the first one.

        ``zero_higher`` sets the diffs of later blobs to 0. The diffs of the inputs come back, and those of ``diffs``.
        """
        self._start_from(start_name, start_diff, zero_higher)
        return self.backward(diffs, start_name)

    def deconv_from_layer(
        self,
        start_name: str,
        start_diff: Any,
        diffs: Sequence[str] | None = None,
        zero_higher: bool = False,
        deconv_type: str = "Zeiler & Fergus",
    ) -> dict[str, np.ndarray]:
        """``backward_from_layer`` as a deconvolutional network: a ReLU lets pass what is positive in the diff.

        With ``deconv_type="Guided Backprop"`` it lets pass only what is so where its bottom is positive, too.
        Sources: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks"; Springenberg et al.,
        "Striving for Simplicity"; the names are those of the deep visualization toolbox's Caffe.
        """
        if deconv_type not in DECONV_TYPES:
            raise ArgumentError(
                f"there is no deconv_type {deconv_type!r}", hint=f"give one of {', '.join(map(repr, DECONV_TYPES))}"
            )
        graph = self._caffe_graph
        wanted = [*graph.inputs, *(diffs or ())]
        _known(graph, wanted)
        self._start_from(start_name, start_diff, zero_higher)
        graph.deconv_pass(_index(graph, start_name), DECONV_TYPES[deconv_type])
        return {name: graph._blob[name].shown.diff for name in dict.fromkeys(wanted)}

    def _start_from(self, name: str, diff: Any, zero_higher: bool) -> None:
        graph = self._caffe_graph
        _index(graph, name)
        _known(graph, [name])
        _fill(graph, {name: diff}, [name], "start", "diff")
        if zero_higher:
            names = list(graph._blob)
            for later in names[names.index(name) + 1 :]:
                graph._blob[later].shown.diff[...] = 0

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """Run ``forward`` in batches over inputs of any length, also of none; the outputs of every item."""
        wanted = list(dict.fromkeys([*self.outputs, *(blobs or ())]))
        gathered: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        if not inputs:
            raise ArgumentError("no arrays are given", hint="pass one array per input, as keyword arguments")
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
        if not arrays:
            raise ArgumentError("no arrays are given", hint="pass one array per input or output, as keyword arguments")
        nothing: tuple[dict[str, np.ndarray], int] = ({}, 0)
        for (batch, count), (diff_batch, diff_count) in zip_longest(
            _batches(self._caffe_graph, inputs), _batches(self._caffe_graph, top_diffs), fillvalue=nothing
        ):
            count = count or diff_count
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

    def _batch(self, blobs: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        """Arrays of any length in batches that fill the net's, the last one filled up with zeros."""
        return (batch for batch, _ in _batches(self._caffe_graph, blobs))

    # -- names of 2014 -----------------------------------------------------------------------------------------------

    def set_phase_train(self) -> None:
        """Accept a net for TRAIN; the phase of a net cannot change."""
        _require_phase(self._caffe_graph, caffe_pb2.TRAIN)

    def set_phase_test(self) -> None:
        """Accept a net for TEST; the phase of a net cannot change."""
        _require_phase(self._caffe_graph, caffe_pb2.TEST)

    def set_mode_cpu(self) -> None:
        """``caffe.set_mode_cpu()``, for nets made from now on."""
        set_mode_cpu()

    def set_mode_gpu(self) -> None:
        """``caffe.set_mode_gpu()``, for nets made from now on."""
        set_mode_gpu()

    def set_device(self, index: int) -> None:
        """``caffe.set_device(index)``, for nets made from now on."""
        set_device(index)


# Whether a ReLU looks at its bottom, too.
DECONV_TYPES = {"Zeiler & Fergus": False, "Guided Backprop": True}


def _require_phase(graph: Graph, phase: caffe_pb2.Phase) -> None:
    if graph.phase != phase:
        name, other = (caffe_pb2.Phase.Name(p) for p in (phase, graph.phase))
        raise NetError(f"the net is made for {other}", hint=f"make it for {name}: caffe.Net(file, caffe.{name})")


def _index(graph: Graph, layer_name: str) -> int:
    return graph.nodes.index(graph.node(layer_name))


def _known(graph: Graph, names: Sequence[str]) -> None:
    for name in names:
        if name not in graph._blob:
            raise UnknownName(f"the net has no blob {name!r}", hint=f"its blobs: {', '.join(graph._blob)}")


def _fill(graph: Graph, arrays: Mapping[str, Any], expected: Sequence[str], kind: str, attribute: str) -> None:
    if set(arrays) != set(expected):
        raise NetError(
            f"{kind} arguments {sorted(arrays)} do not match the net's {kind}s {sorted(expected)}",
            hint=f"give each {kind} once",
        )
    for name, values in arrays.items():
        blob, values = graph._blob[name].shown, np.asarray(values)
        if values.shape != blob.shape and values.shape[:1] != blob.shape[:1]:
            raise ShapeError(
                f"{kind} {name!r} is of shape {values.shape}, the blob of {blob.shape}",
                hint=f"fill the batch, or reshape first: net.blobs[{name!r}].reshape(*array.shape)",
            )
        try:
            getattr(blob, attribute)[...] = values
        except ValueError:
            raise ShapeError(
                f"{kind} {name!r} is of shape {values.shape}, the blob of {blob.shape}",
                hint=f"reshape the array, or the blob: net.blobs[{name!r}].reshape(*array.shape)",
            ) from None


def _batches(graph: Graph, arrays: Mapping[str, Any]) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Batches that fill the blobs, the last one filled up with zeros, and how many of its items are real."""
    if not arrays:
        return
    _known(graph, list(arrays))
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1:
        raise ShapeError(f"the arrays have different lengths: {sorted(lengths)}")
    first_name, (length,) = next(iter(arrays)), lengths
    size = sum(graph._blob[first_name].shape[:1])
    if length and not size:
        raise ShapeError(
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
    shapes = list(dict.fromkeys(item.shape for item in items))
    if len(shapes) > 1:
        raise ShapeError(
            f"blob {name!r} has items of shape {shapes[0]} in one batch and {shapes[1]} in another",
            hint="run the batches one by one: net.forward(...)",
        )
    if items:
        return np.asarray(items)
    return graph.ops.host_view(graph.ops.zeros((0, *graph._blob[name].shape[1:])))


def __getattr__(name: str) -> Any:
    """Nets, solvers, NCCL and Timer, which pycaffe has in this module, too."""
    if name in ("NCCL", "Net", "Timer") or name.endswith("Solver"):
        return getattr(import_module(__package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
