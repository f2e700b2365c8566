"""Files of ONNX, made from graphs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..agreement.onnx_running import onnx
from ..files.atomic import writing
from ..files.paths import system_path
from ..onnx_graph import FLOAT, OnnxGraph, OnnxNode, Value
from .writing import WrittenNet

OPSETS = range(13, 22)
MOST_BYTES = 2**31 - 2**20  # of one message of protobuf, with some room for all but the constants
_IR_VERSIONS = {19: 9, 20: 9, 21: 10}  # 8 before


def model_of(written: WrittenNet, name: str, notes: Mapping[str, str] | None = None) -> Any:
    """Return the ModelProto of a written net; ``notes`` become its metadata."""
    helper = onnx().helper
    graph = written.graph
    blob_of = {id(value): blob for blob, value in written.values.items()}

    def described(value: Value) -> Any:
        blob = blob_of.get(id(value), value.name)
        dims = [written.free.get((blob, axis)) if n is None else n for axis, n in enumerate(value.sizes)]
        return helper.make_tensor_value_info(value.name, FLOAT, dims)

    names = {name for layer in written.layers for name in layer.bottom}
    read_by_layers = [value for value in written.values.values() if value.name in names]
    made = helper.make_graph(
        list(_nodes(graph)),
        name or "net",
        [described(value) for value in graph.inputs],
        [described(value) for value in graph.outputs],
        _constants(graph, {id(value): value for value in (*_read(graph), *read_by_layers)}.values()),
    )
    model = helper.make_model(
        made,
        producer_name="caffe_lite",
        producer_version=version("caffe-lite"),
        opset_imports=[helper.make_opsetid("", graph.opset)],
        ir_version=_IR_VERSIONS.get(graph.opset, 8),
    )
    helper.set_model_props(model, dict(notes or {}))
    return model


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model; its constants go into a file of their own, OUT.onnx.data, if the model is too large for one.

    Each file appears under its name when it is complete.
    """
    target = Path(os.path.realpath(system_path(path)))
    large = is_large(model)
    with writing(path), tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        data = f"{target.name}.data"
        onnx().save_model(
            model, os.path.join(folder, target.name), save_as_external_data=large, location=data if large else None
        )
        for name in [data, target.name] if large else [target.name]:
            os.replace(os.path.join(folder, name), target.with_name(name))


def is_large(model: Any) -> bool:
    """Return whether a model exceeds what one message of protobuf can hold."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > MOST_BYTES


def _nodes(graph: OnnxGraph) -> Any:
    names = set()
    for node in graph.nodes:
        if _reshaped(node) is not None:
            continue
        name = f"{node.layer}/{node.op}"
        while name in names:
            name += "_"
        names.add(name)
        yield onnx().helper.make_node(
            node.op,
            ["" if value is None else value.name for value in node.inputs],
            [value.name for value in node.outputs],
            name=name,
            **{key: _attribute(value) for key, value in node.attributes.items()},
        )


def _attribute(value: Any) -> Any:
    if isinstance(value, OnnxGraph):
        return _body(value)
    return onnx().numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value


def _body(graph: OnnxGraph) -> Any:
    def described(value: Value) -> Any:
        return onnx().helper.make_tensor_value_info(value.name, FLOAT, value.shape)

    ends = ([described(value) for value in values] for values in (graph.inputs, graph.outputs))
    own = [value for value in _read(graph) if value.blob is None]
    return onnx().helper.make_graph(list(_nodes(graph)), graph.layer, *ends, _constants(graph, own))


def _read(graph: OnnxGraph) -> list[Value]:
    """Return the values that a graph reads or gives, each once, with learned ones that its operations' bodies read."""
    read = {id(v): v for node in graph.nodes if _reshaped(node) is None for v in node.inputs if v is not None}
    bodies = [body for node in graph.nodes for body in node.attributes.values() if isinstance(body, OnnxGraph)]
    learned = {id(value): value for body in bodies for value in _read(body) if value.blob is not None}
    return list((read | learned | {id(value): value for value in graph.outputs}).values())


def _constants(graph: OnnxGraph, values: Iterable[Value]) -> list[Any]:
    """Return those of the values that are constants, or constants in another shape."""
    reshaped = {id(node.outputs[0]): array for node in graph.nodes if (array := _reshaped(node)) is not None}
    arrays = ((value, reshaped.get(id(value), value.array)) for value in values)
    return [
        onnx().numpy_helper.from_array(np.asarray(array, order="C"), value.name)
        for value, array in arrays
        if array is not None
    ]


def _reshaped(node: OnnxNode) -> np.ndarray | None:
    """Return the result of an operation that gives a constant another shape: it is written as a constant."""
    if node.op != "Reshape" or node.inputs[0] is None or node.inputs[0].array is None:
        return None
    shape = node.outputs[0].shape
    return None if shape is None or None in shape else node.inputs[0].array.reshape([size or 0 for size in shape])
