"""Running ONNX models: by onnxruntime or, where it is not installed, by onnx's reference implementation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CaffeError, MissingExtra, Where, first_line
from ..plugins import is_installed
from .comparing import Arrays


def onnx() -> Any:
    """Return the onnx package."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "onnx", "read and write ONNX models") from None
    return onnx


class OnnxRun:
    """A model that runs over inputs by name; calling it returns the values of its outputs, or of those named.

    Args:
        model: the path of a file, or the bytes of a model.
        threads: how many onnxruntime uses; 0 is its own choice.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, threads: int = 0) -> None:
        source = model if isinstance(model, bytes) else os.fspath(model)
        self.runtime = "onnxruntime" if is_installed("onnxruntime") else "onnx's reference implementation"
        try:
            self._session = _session(source, threads) if is_installed("onnxruntime") else _reference(source)
        except CaffeError:
            raise
        except Exception as error:  # neither library says which exceptions it raises
            where = None if isinstance(source, bytes) else Where(source)
            raise CaffeError(f"{self.runtime} cannot run this model: {first_line(error)}", where=where) from error
        if is_installed("onnxruntime"):
            self.types = {one.name: _NUMPY.get(one.type, np.float32) for one in self._session.get_inputs()}
            self.output_names = [one.name for one in self._session.get_outputs()]
        else:
            self.types = {
                name: onnx().helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
                for name, kind in zip(self._session.input_names, self._session.input_types, strict=True)
            }
            self.output_names = list(self._session.output_names)

    def __call__(self, fed: Arrays, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        names = self.output_names if names is None else list(names)
        given: dict[str, np.ndarray] = {}
        for name, kind in self.types.items():
            given[name] = np.asarray(fed[name], kind, order="C")
        return dict(zip(names, self._session.run(names, given), strict=True))


class DoubleRun:
    """A model that onnx's reference implementation runs in double precision, over inputs by name.

    Calling it returns the values of tensors under other names: ``names`` has the new name of each.

    Args:
        model: a ModelProto in single precision.
    """

    def __init__(self, model: Any, names: Mapping[str, str]) -> None:
        from onnx.reference import ReferenceEvaluator

        doubled = type(model)()
        doubled.CopyFrom(model)
        graph = doubled.graph
        tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
        for tensor in tensors:
            if tensor.data_type == onnx().TensorProto.FLOAT:
                array = onnx().numpy_helper.to_array(tensor).astype(np.float64)
                tensor.CopyFrom(onnx().numpy_helper.from_array(array, tensor.name))
        del graph.value_info[:]
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx().TensorProto.FLOAT:
                    attribute.i = onnx().TensorProto.DOUBLE
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type == onnx().TensorProto.FLOAT:
                value.type.tensor_type.elem_type = onnx().TensorProto.DOUBLE
        present = {value.name for value in graph.output}
        for name in names:
            if name not in present:
                graph.output.add().name = name
        self._names = names
        self._inputs = [value.name for value in graph.input if value.name not in {t.name for t in graph.initializer}]
        self._evaluator = ReferenceEvaluator(doubled)

    def __call__(self, fed: Arrays) -> dict[str, np.ndarray]:
        given = {name: np.asarray(fed[name], np.float64) for name in self._inputs}
        with np.errstate(all="ignore"):
            values = self._evaluator.run(list(self._names), given)
        return dict(zip(self._names.values(), values, strict=True))


_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def _session(source: str | bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which it raises too
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _reference(source: str | bytes) -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(onnx().load_from_string(source) if isinstance(source, bytes) else source)
