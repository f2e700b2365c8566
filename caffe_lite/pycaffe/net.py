"""Net, as pycaffe's scripts use it (original: python/caffe/pycaffe.py)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import ref

import numpy as np

from ..blobs import Blob
from ..errors import ArgumentError, DataError, LayerError, NetError, ShapeError, UnknownName
from ..net.graph import Graph
from ..net.loading import LoadReport
from ..ops import Ops, set_device, set_mode_cpu, set_mode_gpu
from ..ops.array import Array
from ..proto import caffe_pb2
from ..proto.parsed import Parsed
from .blob import HostBlob, HostBlobs, shown_blob
from .layer import shown_layer
from .parallel import NCCL

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST

_phase_in_force: int = TEST


def set_phase_train() -> None:
    """Make TRAIN the phase of nets that are made from now on without one, for scripts of 2014."""
    global _phase_in_force
    _phase_in_force = TRAIN


def set_phase_test() -> None:
    """Make TEST the phase of nets that are made from now on without one, which is the default."""
    global _phase_in_force
    _phase_in_force = TEST


class Net:
    """A net in one phase, on one engine.

    Args:
        network_file: the path of a prototxt, the result of ``read_net``, or a NetParameter.
        phase: TRAIN or TEST; the default is TEST unless ``set_phase_train`` was called.
        level, stages: the rest of the NetState for include and exclude rules.
        weights: a .caffemodel or .caffemodel.h5, or several joined by commas, loaded by layer name.
        engine: "numpy", ..., or an engine's operations; the default is that of ``set_engine`` or CAFFE_LITE_ENGINE.
        dtype: "float32" (the default), or "float64" to check gradients.
        device: "cpu", "cuda:0" or a GPU's number; the default is that of ``set_mode_gpu`` and ``set_device``.
        compile: compile, with torch, whole forward passes in TEST, and a solver's forward and backward passes in TRAIN,
            which keep only outputs, losses and parameters. The default is False unless CAFFE_LITE_COMPILE=1 is set.
        seed: for everything random in the net; the default is that of ``set_random_seed``, else a new one.

    pycaffe's old orders ``Net(network_file, weights, phase)`` and ``Net(network_file, weights)`` work too. Errors name
    the layer and its place in the file.

    Its ``Graph`` runs the net. A subclass of Net may give its objects attributes of any name: the graph does not look
    at them. Attributes that the net does not have are the graph's (``net.name``, ``net.nodes``).
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str] | caffe_pb2.NetParameter | Parsed[caffe_pb2.NetParameter],
        phase: int | str | os.PathLike[str] | None = None,
        level: int | None = None,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        engine: str | Ops[Array] | None = None,
        dtype: str | None = None,
        device: str | int | None = None,
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        if isinstance(phase, (str, os.PathLike)):
            if weights is not None:
                raise ArgumentError(f"phase is {os.fspath(phase)!r}", hint="it is caffe.TRAIN or caffe.TEST")
            weights, phase, level = phase, level, None
        phase = _phase_in_force if phase is None else phase
        level = 0 if level is None else level
        if not isinstance(level, SupportsIndex):
            raise ArgumentError(f"level is {level!r}, not a number", hint="give weights by name: weights=file")
        if not isinstance(weights, (str, os.PathLike, type(None))):
            raise ArgumentError(f"weights is {weights!r}", hint="it is the path of a file")
        if isinstance(stages, str) or not all(isinstance(stage, str) for stage in stages or ()):
            raise ArgumentError(f"stages is {stages!r}", hint="it is a list of names, as in ['deploy']")
        state = (phase, level, stages)
        try:
            self._caffe_graph = Graph(
                network_file, *state, engine=engine, dtype=dtype, device=device, seed=seed, compile=compile
            )
        except (DataError, LayerError) as error:
            if weights is not None and (isinstance(error, DataError) or error.layer_type == "Python"):
                alone = f"caffe_lite.io.load_weights({os.fspath(weights)!r}) needs neither the data nor the net"
                error.hint = f"{error.hint}; {alone}" if error.hint else alone
            raise
        self._caffe_layers = [shown_layer(node.layer) for node in self._caffe_graph.nodes]
        for index, (_, blobs) in enumerate(self._caffe_layers):
            blobs.replaced = _hearing(self._caffe_graph, index)
        if weights is not None:
            self._caffe_graph.copy_from(weights)

    def __getattr__(self, name: str) -> Any:
        graph = self.__dict__.get("_caffe_graph")
        try:
            return getattr(graph, name)
        except AttributeError as error:
            if graph is not None and error.name != name:  # raised inside a property
                raise
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    @property
    def blobs(self) -> OrderedDict[str, HostBlob]:
        """Every blob by name, in the order in which the layers make them."""
        return OrderedDict((name, shown_blob(blob)) for name, blob in self._caffe_graph._blob.items())

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
        """The learnable blobs of each layer that has any, by layer name."""
        shown = zip(self._caffe_graph.nodes, self._caffe_layers, strict=True)
        return OrderedDict((node.name, blobs) for node, (_, blobs) in shown if blobs)

    @property
    def layers(self) -> list[Any]:
        """The layers; a Python layer is the object of the user's class."""
        return [layer for layer, _ in self._caffe_layers]

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
        return [shown_blob(blob) for blob in self._caffe_graph._blob.values()]

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

    def before_forward(self, callback: Callable[[int], object]) -> None:
        """Call ``callback`` with a layer's index before the layer runs forward.

        While a net has callbacks, nothing in it is fused or compiled.
        """
        self._caffe_graph.callbacks.add("before_forward", callback)

    def after_forward(self, callback: Callable[[int], object]) -> None:
        """Call ``callback`` with a layer's index after the layer has run forward."""
        self._caffe_graph.callbacks.add("after_forward", callback)

    def before_backward(self, callback: Callable[[int], object]) -> None:
        """Call ``callback`` with a layer's index before the layer runs backward."""
        self._caffe_graph.callbacks.add("before_backward", callback)

    def after_backward(self, callback: Callable[[int], object] | NCCL) -> None:
        """Call ``callback`` with a layer's index after the layer has run backward.

        A ``caffe.NCCL`` is accepted, and changes nothing: it sends gradients as soon as they are there.
        """
        if isinstance(callback, NCCL):
            return
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
        """Give every blob the shape that follows from the shapes of the inputs."""
        self._caffe_graph.reshape()

    def clear_param_diffs(self) -> None:
        self._caffe_graph.clear_param_diffs()

    def copy_from(self, weights: str | os.PathLike[str]) -> LoadReport:
        """Load parameters by layer name from one file, or several joined by commas; report the outcome for each layer.

        If a file has this path, commas included, it is one file. Layers of the file that the net lacks are ignored;
        layers of the net that the file lacks keep their values. Nothing is changed if something does not fit: if the
        number of blobs differs, or if shapes differ in more than leading 1s.
        """
        return self._caffe_graph.copy_from(weights)

    def share_with(self, other: Net) -> None:
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
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **inputs: ArrayLike
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end`` (names, both included); return the outputs, and also ``blobs``.

        Keyword arguments, one for each input of the net, fill the inputs first.
        """
        graph = self._caffe_graph
        first = _index(graph, start) if start is not None else 0
        last = _index(graph, end) if end is not None else len(graph.nodes) - 1
        wanted = [*(graph.nodes[last].top_names if end is not None else graph.outputs), *(blobs or ())]
        _known(graph, wanted)
        if inputs:
            _fill(graph, inputs, graph.inputs, "input", "data")
        graph.forward_pass(first, last, wanted)
        return {name: shown_blob(graph._blob[name]).data for name in dict.fromkeys(wanted)}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **outputs: ArrayLike
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` back to ``end``; return the diffs of the inputs, and also those of ``diffs``.

        Keyword arguments, one for each output of the net, fill these blobs' diffs first. Parameters' diffs accumulate
        until they are set to zero.

        A layer that has not run forward over bottoms of these shapes uses the present values of its bottoms: from them
        it computes what it needs for its gradient. This changes no blob's data, no parameter, state or random number,
        and only diffs that belong to the gradient are written; a top whose shape does not follow from the bottoms (they
        were reshaped, or Filter selects by values) gets the shape that does. The original then uses the content of its
        buffers, for many layers zeros or memory that was never written, whereas this is the gradient at the bottoms.
        Layers without bottoms, HDF5Output and Python layers are not run for it.
        """
        graph = self._caffe_graph
        first = _index(graph, start) if start is not None else len(graph.nodes) - 1
        last = _index(graph, end) if end is not None else 0
        wanted = [*(graph.nodes[last].bottom_names if end is not None else graph.inputs), *(diffs or ())]
        _known(graph, wanted)
        if outputs:
            _fill(graph, outputs, graph.outputs, "output", "diff")
        graph.backward_pass(first, last)
        return {name: shown_blob(graph._blob[name]).diff for name in dict.fromkeys(wanted)}

    forward_simple, backward_simple = forward, backward

    def backward_from_layer(
        self, start_name: str, start_diff: ArrayLike, diffs: Sequence[str] | None = None, zero_higher: bool = False
    ) -> dict[str, np.ndarray]:
        """Fill the diff of the blob ``start_name`` and run back from the layer of that name to the first one.

        ``zero_higher`` sets the diffs of later blobs to 0. Returns the diffs of the inputs, and those of ``diffs``.
        """
        self._start_from(start_name, start_diff, zero_higher)
        return self.backward(diffs, start_name)

    def deconv_from_layer(
        self,
        start_name: str,
        start_diff: ArrayLike,
        diffs: Sequence[str] | None = None,
        zero_higher: bool = False,
        deconv_type: str = "Zeiler & Fergus",
    ) -> dict[str, np.ndarray]:
        """Run ``backward_from_layer`` as a deconvolutional network: a ReLU passes the positive values of the diff.

        With ``deconv_type="Guided Backprop"`` it passes only those where its bottom is positive, too.
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
        return {name: shown_blob(graph._blob[name]).diff for name in dict.fromkeys(wanted)}

    def _start_from(self, name: str, diff: ArrayLike, zero_higher: bool) -> None:
        graph = self._caffe_graph
        _index(graph, name)
        _known(graph, [name])
        _fill(graph, {name: diff}, [name], "start", "diff")
        if zero_higher:
            names = list(graph._blob)
            for later in names[names.index(name) + 1 :]:
                shown_blob(graph._blob[later]).diff[...] = 0

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: ArrayLike) -> dict[str, np.ndarray]:
        """Run ``forward`` in batches over inputs of any length, even 0; return the outputs of every item."""
        wanted = list(dict.fromkeys([*self.outputs, *(blobs or ())]))
        gathered: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        if not inputs:
            raise ArgumentError("no arrays are given", hint="pass one array per input, as keyword arguments")
        for batch, count in _batches(self._caffe_graph, inputs):
            for name, values in self.forward(wanted, None, None, **batch).items():
                gathered[name].extend(values[:count].copy() if values.ndim else [values.copy()])
        return {name: _together(self._caffe_graph, name, values) for name, values in gathered.items()}

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: ArrayLike
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

    def set_input_arrays(self, data: Any, labels: Any, *rest: Any) -> None:
        """Let a MemoryData layer take its batches from arrays of data and labels.

        It is the net's first one, unless the index of a layer comes before the arrays, as in naibaf7's fork.
        """
        nodes = self._caffe_graph.nodes
        if rest:
            index, data, labels = (data, labels, *rest)
            if not hasattr(nodes[index].layer, "set_input_arrays"):
                raise nodes[index].error("it takes no arrays", "give the index of a MemoryData layer in net.layers")
            nodes = [nodes[index]]
        for node in nodes:
            take = getattr(node.layer, "set_input_arrays", None)
            if take is not None:
                take(data, labels)
                return
        raise NetError("the net has no MemoryData layer", hint="fill its inputs: net.blobs[name].data[...] = array")

    _set_input_arrays = set_input_arrays

    def _batch(self, blobs: Mapping[str, ArrayLike]) -> Iterator[dict[str, np.ndarray]]:
        """Split arrays of any length into batches of the net's size; the last one is filled up with zeros."""
        return (batch for batch, _ in _batches(self._caffe_graph, blobs))

    # -- names of 2014 -----------------------------------------------------------------------------------------------

    def set_phase_train(self) -> None:
        """Raise unless the net is for TRAIN: a net's phase cannot change."""
        _require_phase(self._caffe_graph, caffe_pb2.TRAIN)

    def set_phase_test(self) -> None:
        """Raise unless the net is for TEST: a net's phase cannot change."""
        _require_phase(self._caffe_graph, caffe_pb2.TEST)

    def set_mode_cpu(self) -> None:
        """Call ``caffe.set_mode_cpu()``, for nets made from now on."""
        set_mode_cpu()

    def set_mode_gpu(self) -> None:
        """Call ``caffe.set_mode_gpu()``, for nets made from now on."""
        set_mode_gpu()

    def set_device(self, index: int) -> None:
        """Call ``caffe.set_device(index)``, for nets made from now on."""
        set_device(index)


# True if a ReLU looks at its bottom, too.
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


def _fill(graph: Graph, arrays: Mapping[str, ArrayLike], expected: Sequence[str], kind: str, attribute: str) -> None:
    if set(arrays) != set(expected):
        raise NetError(
            f"{kind} arguments {sorted(arrays)} do not match the net's {kind}s {sorted(expected)}",
            hint=f"give each {kind} once",
        )
    for name, values in arrays.items():
        blob, values = shown_blob(graph._blob[name]), np.asarray(values)
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
    """Yield batches that fill the blobs, and how many of their items are real: the last is filled up with zeros."""
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
    """Return the items of a blob in one array, which has their shape even if there are none."""
    shapes = list(dict.fromkeys(item.shape for item in items))
    if len(shapes) > 1:
        raise ShapeError(
            f"blob {name!r} has items of shape {shapes[0]} in one batch and {shapes[1]} in another",
            hint="run the batches one by one: net.forward(...)",
        )
    if items:
        return np.asarray(items)
    return graph.ops.host_view(graph.ops.zeros((0, *graph._blob[name].shape[1:])))


def _hearing(graph: Graph, node_index: int) -> Callable[[int, Blob, Blob], None]:
    """Make a function that tells a graph, without keeping it alive, that a layer has another blob."""
    hears = ref(graph)

    def replaced(index: int, old: Blob, new: Blob) -> None:
        if (graph := hears()) is not None:
            graph.replaced(graph.nodes[node_index], index, old, new)

    return replaced
