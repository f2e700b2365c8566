"""Running: the net behind a ``Net``, made when its inputs are known, with the weights that it has then."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import NetError, WeightsError
from ..layers.prior_box import PriorBoxLayer
from ..layers.proposal import ProposalLayer
from ..logs.log import errors_only
from ..net.graph import Graph
from ..net.loading import load
from ..net.passes import Step
from ..net.weights import LayerWeights
from ..net.wiring import Node
from ..proto.caffe_pb2 import TEST, BlobShape, NetParameter
from .arrays import as_opencv
from .custom import make_custom
from .detections import padded, padded_shape
from .importer import Imported, ImportedNet, Pin

Shape = tuple[int, ...]


class Running:
    """The net that computes, its inputs, and the times of its last pass, one for each layer, in ticks of OpenCV."""

    def __init__(self, imported: ImportedNet) -> None:
        self.imported = imported
        self.layers = imported.layers
        self.values: list[np.ndarray | None] = [None] * len(imported.inputs)
        self.times = np.zeros(len(self.layers))
        self._graph: Graph | None = None
        self._nodes: dict[str, int] = {}
        self._lacking: list[str] = []
        self._numbers = {layer.param.name: number for number, layer in reversed(list(enumerate(self.layers)))}

    def set_input(self, index: int, values: np.ndarray) -> None:
        if not self.values:
            raise NetError("the net has no inputs", hint="its layers read their data themselves")
        self.values[index] = values

    def set_shape(self, index: int, shape: Shape) -> None:
        self.imported.shapes[index] = shape

    def set_blobs(self, number: int, blobs: Sequence[np.ndarray]) -> None:
        """Replace the learned arrays of a layer."""
        layer = self.layers[number - 1]
        before = layer.blobs, layer.given
        layer.blobs, layer.given = list(blobs), True
        if layer.is_custom:
            self._graph = None  # its class gets them when it is made
        elif self._graph is not None and layer.runs:
            try:
                self._put(self._graph, number)
            except NetError:
                layer.blobs, layer.given = before
                raise

    def output_count(self, number: int) -> int:
        """Return how many outputs a layer has in OpenCV: a Split's are those that are read."""
        layer = self.layers[number - 1]
        if layer.type == "Split":
            return max(1, len({pin for other in self.layers for pin in other.inputs if pin[0] == number}))
        if layer.type == "Convolution":
            return 1
        return len(layer.param.top) or len(layer.inputs)

    def outputs(self, pins: Sequence[Pin]) -> list[np.ndarray]:
        """Run all layers up to the last of those whose outputs are asked for; return these."""
        self._check_there(pins)
        missing = [name for name, value in zip(self.imported.inputs, self.values, strict=True) if value is None]
        if missing:
            raise NetError(f"input {missing[0]!r} has no values", hint=f"set them: net.setInput(blob, {missing[0]!r})")
        values = [value for value in self.values if value is not None]
        graph = self._net_for([value.shape for value in values])
        if self._lacking:
            layer = graph.node(self._lacking[0])
            raise WeightsError(
                f"it has no weights: {self.imported.file or 'no weights file'} holds none for it",
                where=layer.where,
                layer=layer.name,
                layer_type=layer.layer.type,
                hint="give the .caffemodel of this net, or set them: net.getLayer(name).blobs = [...]",
            )
        for name, value in zip(self.imported.inputs, values, strict=True):
            graph._blob[name].Reshape(value.shape)
            graph._blob[name].data = graph.ops.asarray(value)
        return self._read(graph, pins)

    def shapes(self, inputs: Sequence[Shape]) -> tuple[list[list[Shape]], list[list[Shape]]]:
        """Return the shapes of the inputs and of the outputs of every layer, from 0 on, for inputs of these shapes."""
        graph = self._net_for(inputs)
        graph.reshape()
        return self._present_shapes(graph)

    def known_shapes(self) -> list[list[Shape]]:
        """Return the present shapes of the outputs of every layer; none before the net has been needed."""
        return self._present_shapes(self._graph)[1] if self._graph else []

    def _present_shapes(self, graph: Graph) -> tuple[list[list[Shape]], list[list[Shape]]]:
        inputs = [graph._blob[name].shape for name in self.imported.inputs]
        bottoms, tops = [inputs], [inputs]
        for number, layer in enumerate(self.layers, 1):
            if not layer.runs:
                bottoms.append([])
                tops.append([])
                continue
            node = graph.nodes[self._nodes[layer.param.name]]
            shapes = [blob.shape for blob in node.top] or [blob.shape for blob in node.bottom]
            if layer.type == "DetectionOutput":
                shapes = [padded_shape(layer.param, node.bottom[0].shape[0])]
            inputs = [blob.shape for blob in node.bottom]
            bottoms.append(inputs[layer.place : layer.place + 1] if layer.type == "Convolution" else inputs)
            tops.append(shapes[layer.place : layer.place + self.output_count(number)])
        return bottoms, tops

    def _check_there(self, pins: Sequence[Pin]) -> None:
        for number, _ in pins:
            layer = self.layers[number - 1]
            if not layer.runs:
                raise NetError(
                    "it is not there in TEST",
                    layer=layer.name,
                    layer_type=layer.type,
                    hint="its include and exclude rules leave it out: ask for another layer",
                )

    # -- the net -------------------------------------------------------------------------------------------------------

    def _net_for(self, shapes: Sequence[Shape]) -> Graph:
        """Return the net with inputs of these shapes."""
        if self._graph is None:
            with errors_only():
                self._graph = self._made(shapes)
        for name, shape in zip(self.imported.inputs, shapes, strict=True):
            self._graph._blob[name].Reshape(shape)
        return self._graph

    def _made(self, shapes: Sequence[Shape]) -> Graph:
        message = NetParameter()
        message.CopyFrom(self.imported.net.message)
        self._give_shapes(message, shapes)
        custom = {layer.param.name: layer for layer in self.layers if layer.is_custom}
        for param in message.layer:
            if param.type in ("PriorBox", "PriorBoxClustered") and not param.prior_box_param.HasField("clip"):
                param.prior_box_param.clip = True  # OpenCV's default
            if param.name in custom and param.type != "Input":
                make_custom(param, [blob for blob in custom[param.name].blobs if blob is not None])
        settings: dict[str, Any] = dict.fromkeys(["engine", "dtype", "device", "seed", "compile"])
        graph = Graph(replace(self.imported.net, message=message), TEST, 0, None, **settings)
        self._nodes = {node.name: index for index, node in enumerate(graph.nodes)}
        for node in graph.nodes:
            if isinstance(node.layer, PriorBoxLayer):
                node.layer.keep_fractions()
            elif isinstance(node.layer, ProposalLayer):
                node.layer.fills_up = True
        self._load(graph)
        return graph

    def _give_shapes(self, message: NetParameter, shapes: Sequence[Shape]) -> None:
        left = list(shapes)
        for param in message.layer:
            if param.type == "Input":
                count = len(param.top)
                del param.input_param.shape[:]
                param.input_param.shape.extend(BlobShape(dim=shape) for shape in left[:count])
                left = left[count:]

    def _load(self, graph: Graph) -> None:
        stored = [
            LayerWeights(layer.param.name, layer.type, _with_bias(layer))
            for layer in self.layers
            if layer.blobs and not (layer.given or layer.is_custom or layer.place)
        ]
        report = load(graph, [(self.imported.file, stored)])
        for number, layer in enumerate(self.layers, 1):
            if layer.given and layer.runs and not layer.is_custom:
                self._put(graph, number)
        have = {layer.param.name for layer in self.layers if layer.given or not layer.learns}
        self._lacking = [name for name in report.kept if name not in have]

    def _put(self, graph: Graph, number: int) -> None:
        """Put the arrays that the user has set into the net; they may have other shapes of the same size."""
        layer = self.layers[number - 1]
        node = graph.nodes[self._nodes[layer.param.name]]
        blobs, stored = node.layer.blobs, node.layer.fitted(_with_bias(layer))
        arrays = [array for array in stored if array is not None]
        if [array.size for array in arrays] != [blob.count for blob in blobs]:
            given = [array.size for array in layer.blobs if array is not None]
            raise node.error(
                f"arrays of {given} values are set for learned arrays of the shapes {[blob.shape for blob in blobs]}"
            )
        for blob, array in zip(blobs, arrays, strict=True):
            blob.data[...] = graph.ops.asarray(array.reshape(blob.shape))
        self._lacking = [name for name in self._lacking if name != layer.param.name]

    # -- passes --------------------------------------------------------------------------------------------------------

    def _read(self, graph: Graph, pins: Sequence[Pin]) -> list[np.ndarray]:
        """Run the net and read outputs, each before a later layer overwrites it in place."""
        last = max(self._nodes[self.layers[number - 1].param.name] for number, _ in pins)
        at: dict[int, list[Pin]] = {}
        for pin in pins:
            at.setdefault(self._moment(graph, pin, last), []).append(pin)
        self.times = np.zeros(len(self.layers))
        found: dict[Pin, np.ndarray] = {}
        first = 0
        for moment in sorted({*at, last}):
            self._pass(graph, first, moment, [self._blob(graph, pin).name for pin in at.get(moment, ())])
            found.update((pin, self._value(graph, pin)) for pin in at.get(moment, ()))
            first = moment + 1
        return [found[pin] for pin in pins]

    def _moment(self, graph: Graph, pin: Pin, last: int) -> int:
        """Return the index of the node after which to read an output: its own if a later one overwrites it."""
        own = self._nodes[self.layers[pin[0] - 1].param.name]
        blob = self._blob(graph, pin)
        later = graph.nodes[own + 1 : last + 1]
        return own if any(blob is top for node in later for top in node.top) else last

    def _blob(self, graph: Graph, pin: Pin) -> Any:
        layer = self.layers[pin[0] - 1]
        node = graph.nodes[self._nodes[layer.param.name]]
        return (node.top or node.bottom)[layer.place + pin[1]]

    def _pass(self, graph: Graph, first: int, last: int, read: Sequence[str]) -> None:
        begin = [time.perf_counter()]

        def after(_: int, step: Step) -> None:
            now = time.perf_counter()
            self._note(step.nodes, now - begin[0])
            begin[0] = now

        if graph.compile:
            graph.forward_pass(first, last, read)
            self._note(graph.nodes[first : last + 1], time.perf_counter() - begin[0])
        else:
            graph.run_forward(first, last, after)

    def _note(self, nodes: Sequence[Node], seconds: float) -> None:
        number = next((self._numbers[node.name] for node in nodes if node.name in self._numbers), None)
        if number is not None:
            self.times[number] += round(seconds * _ticks_per_second())

    def _value(self, graph: Graph, pin: Pin) -> np.ndarray:
        layer, array = self.layers[pin[0] - 1], graph.ops.host_view(self._blob(graph, pin).data)
        if layer.type == "DetectionOutput" and not layer.is_custom:
            node = graph.nodes[self._nodes[layer.param.name]]
            array = padded(layer.param, array, node.bottom[0].shape[0])
        return as_opencv(array)


def _with_bias(layer: Imported) -> list[np.ndarray | None]:
    """Return a layer's learned arrays; a convolution that has only weights gets a bias of zeros, as in OpenCV."""
    p = layer.param.convolution_param
    lacks = layer.type in ("Convolution", "Deconvolution") and len(layer.blobs) == 1 and p.bias_term
    return [*layer.blobs, np.zeros(p.num_output, np.float32)] if lacks else list(layer.blobs)


def _ticks_per_second() -> float:
    """Return the unit of OpenCV's times, if it is there to ask."""
    cv2: Any = sys.modules.get("cv2")
    return float(cv2.getTickFrequency()) if hasattr(cv2, "getTickFrequency") else 1e9
