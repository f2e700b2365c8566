"""Which layers without bottoms are inputs of a graph, which are constants; and sizes that depend on values."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from caffe_lite.export import to_onnx

X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
LEARNED = """layer { name: "p" type: "Parameter" top: "p"
    parameter_param { shape { dim: 2 dim: 3 } filler { type: "gaussian" std: 1 } } }"""
DUMMY = """layer { name: "d" type: "DummyData" top: "d" top: "e"
    dummy_data_param { data_filler { value: 2 } data_filler { %s } shape { dim: 2 dim: 3 } } }"""
CONT = """layer { name: "c" type: "ContinuationIndicator" top: "c"
    continuation_indicator_param { time_step: 2 batch_size: 3 } }"""


def total(*names: str) -> str:
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    return f'layer {{ name: "y" type: "Eltwise" {bottoms} top: "y" }}'


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (LEARNED + DUMMY % "" + CONT + X + total("x", "p", "d", "e", "c"), ["x"]),
        (LEARNED + DUMMY % 'type: "gaussian"' + X + total("x", "p", "d", "e"), ["d", "e", "x"]),
        (LEARNED + DUMMY % "" + total("p", "d", "e"), ["d", "e"]),
    ],
    ids=["constants", "drawn in every pass", "no other data"],
)
def test_inputs(make_net, tmp_path, text: str, inputs: list[str]) -> None:
    export = to_onnx(make_net(text, TEST), tmp_path / "net.onnx")
    assert export.written.inputs == inputs


def test_values_written_into_a_constant_top_stay(make_net, tmp_path) -> None:
    net = make_net(DUMMY % "" + X + total("x", "d"), TEST)
    net.blobs["d"].data[...] = np.arange(6).reshape(2, 3)
    written = to_onnx(net, tmp_path / "net.onnx").written
    np.testing.assert_array_equal(written.values["d"].array, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("batch", ["free", 4])
def test_rows_that_depend_on_values(make_net, tmp_path, batch) -> None:
    selector = 'layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 2 } } }'
    layers = """layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" }
        layer { name: "y" type: "Reshape" bottom: "f" top: "y" reshape_param { shape { dim: 0 dim: 1 dim: -1 } } }"""
    export = to_onnx(make_net(X + selector + layers, TEST), tmp_path / "net.onnx", batch=batch)
    assert export.written.values["y"].shape == (None, 1, 3)
    assert export.free_batch == (batch == "free")
