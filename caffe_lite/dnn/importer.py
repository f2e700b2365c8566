"""Reading a net as OpenCV reads it: its layers by number, and the arrays that each of them has in the weights file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from ..errors import ArgumentError
from ..net.filtering import PlacedLayer, filter_layers, placed_layers, state_of
from ..net.weights import LayerWeights, read_weights
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import TEST, LayerParameter
from ..proto.parsed import Parsed
from ..proto.prototxt import net_from_bytes, read_net_as_written
from ..proto.upgrade import upgrade_net
from ..text.spelling import nearest
from .custom import is_custom

Buffer: TypeAlias = "bytes | bytearray | memoryview | np.ndarray"
File: TypeAlias = "str | os.PathLike[str] | Buffer"
Pin = tuple[int, int]  # a layer's number, and the index of one of its outputs


@dataclass
class Imported:
    """A layer of a net as OpenCV counts them: ``name`` and ``type`` are those that OpenCV shows.

    Attributes:
        param: what it is in the net that runs; its name is unique there.
        place: the index of its first output among the tops there.
        inputs: where its bottoms come from.
        blobs: its learned arrays, in the shapes of the file, or as the user has set them.
        given: True if the user has set them.
        learns: False if it has learned arrays that no file can hold, because it stands for a part of another layer.
        runs: False if the prototxt has it for another phase only: OpenCV counts it nevertheless.
    """

    name: str
    type: str
    param: LayerParameter
    inputs: list[Pin]
    blobs: list[np.ndarray | None]
    given: bool = False
    learns: bool = True
    runs: bool = True
    place: int = 0

    @property
    def is_custom(self) -> bool:
        return is_custom(self.type)


@dataclass
class ImportedNet:
    """A net as OpenCV has it.

    Attributes:
        net: the net that runs; each layer has a name of its own.
        file: the name of the weights file, for messages.
        inputs: the names of the inputs; ``shapes`` has what the prototxt says of them, None if nothing.
        layers: the layers; the first has number 1, as 0 is the net's input.
    """

    net: Parsed[caffe_pb2.NetParameter]
    file: str
    inputs: list[str]
    shapes: list[tuple[int, ...] | None]
    layers: list[Imported]


def import_net(prototxt: File, model: File | None) -> ImportedNet:
    """Read a net, and its weights if there are any, from files or from buffers with the content of files."""
    net = net_from_bytes(_content(prototxt), "<buffer of the net>") if _is_buffer(prototxt) else _net_of(prototxt)
    with_fields = bool(net.message.input)
    for _ in range(len(net.message.input) * (not net.message.input_shape and not net.message.input_dim)):
        net.message.input_shape.add()
    upgrade_net(net)
    file, stored = _weights_of(model)
    return _Importer(net, file, stored, with_fields).run()


def _is_buffer(file: File) -> bool:
    return isinstance(file, (bytes, bytearray, memoryview, np.ndarray))


def _content(buffer: File) -> bytes:
    if isinstance(buffer, np.ndarray):
        if buffer.dtype != np.uint8:
            raise ArgumentError(f"a buffer is an array of {buffer.dtype}", hint="give bytes, or an array of uint8")
        return buffer.tobytes()
    assert not isinstance(buffer, (str, os.PathLike))
    return bytes(buffer)


def _net_of(path: File) -> Parsed[caffe_pb2.NetParameter]:
    assert isinstance(path, (str, os.PathLike))
    return read_net_as_written(path)


def _weights_of(model: File | None) -> tuple[str, list[LayerWeights]]:
    if model is None or (isinstance(model, str) and not model):
        return "", []
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model), read_weights(model)
    content = _content(model)
    return "<buffer of the weights>", read_weights("<buffer of the weights>", content) if content else []


class _Importer:
    """Goes through the layers in their order, and renames and adds layers as OpenCV does.

    Source: OpenCV's modules/dnn/src/caffe/caffe_importer.cpp.
    """

    def __init__(
        self, net: Parsed[caffe_pb2.NetParameter], file: str, stored: Sequence[LayerWeights], with_fields: bool
    ) -> None:
        self.found = ImportedNet(net, file, [], [], [])
        self.stored: dict[str, list[LayerWeights]] = {}
        for layer in stored:
            if layer.blobs:
                self.stored.setdefault(layer.name, []).append(layer)
        self.with_fields = with_fields
        self.made: dict[str, Pin] = {}
        self.names: Counter[str] = Counter()
        self.taken: set[str] = set()
        self.params: list[LayerParameter] = []  # of the net that runs

    def run(self) -> ImportedNet:
        message = self.found.net.message
        placed = placed_layers(self.found.net)
        running = {id(layer) for layer in filter_layers(placed, state_of(message, TEST))}
        for index, layer in enumerate(placed):
            self._add(layer, id(layer) in running, self.with_fields and index == 0)
        del message.layer[:]
        message.layer.extend(self.params)
        return self.found

    def _add(self, layer: PlacedLayer, runs: bool, of_fields: bool) -> None:
        param, written = LayerParameter(), layer.param.name
        param.CopyFrom(layer.param)
        param.name = written if of_fields else self._unique(written)
        if param.type == "Input":
            if runs:
                self.params.append(param)
                self._add_inputs(param)
            return
        blobs = self._blobs(written)
        if param.type == "BatchNorm" and _uses_batch(param):
            self._add_statistics(param, blobs, runs)
        self.params.append(param)
        inputs = self._inputs(replace(layer, param=param), runs)
        if param.type == "Convolution" and len(inputs) == len(param.top):
            # Here OpenCV takes the names of the tops, and a layer for each of them.
            for place, (source, top) in enumerate(zip(inputs, param.top, strict=True)):
                name = param.name if top in self.taken else top
                self._append(Imported(name, param.type, param, [source], blobs, runs=runs, place=place))
        else:
            type_name = "Convolution" if param.type == "ConvolutionDepthwise" else param.type
            self._append(Imported(param.name, type_name, param, inputs, blobs, runs=runs))

    def _unique(self, name: str) -> str:
        met = self.names[name]
        self.names[name] += 1
        return f"{name}_{met}" if met else name

    def _add_inputs(self, param: LayerParameter) -> None:
        shapes = [tuple(shape.dim) or None for shape in param.input_param.shape] or [None]
        for index, top in enumerate(param.top):
            self.made[top] = 0, len(self.found.inputs)
            self.found.inputs.append(top)
            self.found.shapes.append(shapes[index if len(shapes) > 1 else 0])

    def _blobs(self, name: str) -> list[np.ndarray | None]:
        """Return the arrays of the first layer of this name that none has taken yet."""
        stored = self.stored.get(name)
        return list(stored.pop(0).blobs) if stored else []

    def _inputs(self, layer: PlacedLayer, runs: bool) -> list[Pin]:
        for bottom in layer.param.bottom:
            if bottom not in self.made and runs:
                near = nearest(bottom, self.made)
                raise layer.error(
                    f"unknown bottom blob {bottom!r}: no layer before it makes it",
                    f"did you mean {near!r}?" if near else "",
                )
        return [self.made[bottom] for bottom in layer.param.bottom if bottom in self.made]

    def _append(self, layer: Imported) -> None:
        self.found.layers.append(layer)
        self.taken.add(layer.name)
        tops = layer.param.top[layer.place : layer.place + 1] if layer.place else layer.param.top
        self.made.update((top, (len(self.found.layers), index)) for index, top in enumerate(tops))

    def _add_statistics(self, param: LayerParameter, blobs: list[np.ndarray | None], runs: bool) -> None:
        """Let a BatchNorm with the batch's own statistics be two layers: OpenCV's MVN, and a BatchNorm after it."""
        before = LayerParameter()
        before.CopyFrom(param)
        before.name = self._unique(f"{param.name}/mvn")
        param.bottom[0] = param.top[0]
        param.batch_norm_param.use_global_stats = True
        net, index = self.found.net, len(self.params)
        net.insert(("layer", index), ("layer", index))
        self.params.append(before)
        inputs = self._inputs(PlacedLayer(before, net.where("layer", index)), runs)
        self._append(Imported(before.name, "MVN", before, inputs, [], learns=False, runs=runs))
        for place, value in enumerate((0, 1, 1)[: len(blobs)]):
            if (blob := blobs[place]) is not None:
                blobs[place] = np.full(blob.shape, value, np.float32)


def _uses_batch(param: LayerParameter) -> bool:
    """Return whether it is BVLC's BatchNorm with the batch's own statistics; those of forks that scale are whole."""
    p = param.batch_norm_param
    scales = p.scale_bias or any(p.HasField(field) for field in ("scale_filler", "bias_filler", "filler"))
    return p.HasField("use_global_stats") and not p.use_global_stats and not scales
