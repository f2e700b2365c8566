"""Operators that differ between the versions of ONNX are written as each version has them."""

from __future__ import annotations

import pytest

from caffe_lite import TEST

from ..layers.gradient import make_net
from .test_layers_in_onnx import ENTRIES, compare

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from caffe_lite.agreement.onnx_running import OnnxRun
from caffe_lite.export.onnx_file import model_of
from caffe_lite.export.writing import write

ENTRY = {entry.name: entry for entry in ENTRIES}
# Operators that have changed since version 13, and layers that are written with them.
CHANGED = {
    "ArgMax": {"TopK"},
    "BatchNorm global": {"BatchNormalization"},
    "BN": {"ReduceMean", "Reshape"},
    "Interp": {"Resize"},
    "LSTM": {"Scan", "Split"},
    "Normalize L1": {"ReduceSum"},
    "Pooling ave pad": {"AveragePool", "Pad"},
    "Pooling max mask": {"Cast", "MaxPool"},
}


@pytest.mark.parametrize("opset", [13, 15, 18, 21])
@pytest.mark.parametrize("name", CHANGED)
def test_agrees(name: str, opset: int) -> None:
    entry = ENTRY[name]
    net = make_net(entry.text, entry.bottoms, entry.tops, engine="numpy", phase=TEST, dtype="float32")
    written = write(net, opset)
    bodies = [value for node in written.graph.nodes for key, value in node.attributes.items() if key == "body"]
    nodes = [node for graph in (written.graph, *bodies) for node in graph.nodes]
    assert {node.op for node in nodes} >= CHANGED[name]
    model = model_of(written, name)
    onnx.checker.check_model(model, full_check=True)
    compare(net, OnnxRun(model.SerializeToString()))
