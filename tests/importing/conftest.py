"""Models of ONNX for the tests of importing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """Return ``make_model(nodes, inputs, constants, outputs)``: a ModelProto, with shapes of inputs by name."""
    onnx = pytest.importorskip("onnx")

    def make(
        nodes: Sequence[Any],
        inputs: Mapping[str, Sequence[int | str]],
        constants: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = ("y",),
        opset: int = 17,
    ) -> Any:
        floats = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            list(nodes),
            "graph",
            [onnx.helper.make_tensor_value_info(name, floats, shape) for name, shape in inputs.items()],
            [onnx.helper.make_tensor_value_info(name, floats, None) for name in outputs],
            [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
        )
        opsets = [onnx.helper.make_opsetid("", opset)]
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)

    return make
