"""What a graph says without running: the shape of every tensor, and the values of those that depend on no input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import NetError
from .graph import Graph, Node
from .layers import shapes_of

# Larger constants are weights: no shape depends on their values, and copying them takes time.
_SHAPES_DEPEND_ON = 4096
_KEEP_SHAPES = ("GroupNormalization",)
# Operators that give something else every time, and those that read more than their inputs.
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
_NOT_ALONE = (*_RANDOM, "If", "Loop", "Scan")


def infer(graph: Graph) -> None:
    """Give every tensor its shape, unless the values of inputs decide it, and compute what depends on no input."""
    while True:
        _infer_shapes(graph)
        before = len(graph.nodes)
        grown = _keep_shapes(graph)
        _fold_constants(graph)
        graph.drop_unread()
        if len(graph.nodes) == before and not grown:
            break


def _infer_shapes(graph: Graph) -> None:
    import onnx
    from onnx import helper

    small = {name: array for name, array in graph.constants.items() if array.size <= _SHAPES_DEPEND_ON}
    fed = [
        helper.make_tensor_value_info(name, graph.types.get(name) or onnx.TensorProto.FLOAT, shape)
        for name, shape in graph.inputs.items()
    ] + [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in graph.constants.items()
        if name not in small
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in graph.outputs]
    model = _model(graph, [_proto(node) for node in graph.nodes], fed, outputs, small)
    for node in graph.nodes:
        for name in node.outputs if _needs_shapes(node) else ():
            if name in graph.shapes:
                known = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.shapes[name])
                model.graph.value_info.append(known)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise NetError(f"the model contradicts itself: {error}") from None
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        graph.types.setdefault(value.name, tensor.elem_type)
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            graph.shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)


def _keep_shapes(graph: Graph) -> bool:
    """Give tensors the shapes that onnx does not infer; return if there are any."""
    grown = False
    for node in graph.nodes:
        able = all(name in graph.shapes for name in node.inputs)
        if not able or not _needs_shapes(node) or node.outputs[0] in graph.shapes:
            continue
        bottoms = [graph.shapes[name] for name in node.inputs]
        graph.shapes.update(zip(node.outputs, shapes_of(node, bottoms) if node.layer else bottoms, strict=False))
        grown = True
    return grown


def _needs_shapes(node: Node) -> bool:
    return node.layer is not None or node.operator in _KEEP_SHAPES


def _fold_constants(graph: Graph) -> None:
    kept = []
    for node in graph.nodes:
        values = _values(graph, node)
        if values is None:
            kept.append(node)
            continue
        for name, value in zip(node.outputs, values, strict=True):
            graph.constants[name] = value
            graph.shapes[name] = value.shape
    graph.nodes = kept
    graph.index()


def _values(graph: Graph, node: Node) -> list[np.ndarray] | None:
    """Return what a node makes, or None if it depends on inputs."""
    if node.operator in ("Shape", "Size") and node.inputs[0] in graph.shapes and not node.domain:
        shape = graph.shapes[node.inputs[0]]
        if node.operator == "Size":
            return [np.array(prod(shape), np.int64)]
        chosen = slice(node.attributes.get("start", 0), node.attributes.get("end"))
        return [np.array(shape[chosen], np.int64)]
    if node.layer or node.operator in _NOT_ALONE or not all(name in graph.constants for name in node.inputs if name):
        return None
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    fed = {name: graph.constants[name] for name in node.inputs if name}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in fed.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs]
    try:
        values = ReferenceEvaluator(_model(graph, [_proto(node)], infos, outputs, {})).run(None, fed)
    except Exception:  # it does not say what it raises for an operator that it does not know
        return None
    return [np.asarray(value) for value in values]


def _proto(node: Node) -> Any:
    from onnx import helper

    domain = node.domain or None
    return helper.make_node(node.operator, node.inputs, node.outputs, name=node.name, domain=domain, **node.attributes)


def _model(graph: Graph, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Any:
    from onnx import helper, numpy_helper

    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.opsets.items()]
    return helper.make_model(made, opset_imports=opsets)
