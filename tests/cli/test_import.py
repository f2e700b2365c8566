from __future__ import annotations

import numpy as np
import pytest

import caffe_lite

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def model(folder):
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[0, 2, 1]),
            onnx.helper.make_node("Relu", ["t"], ["y"]),
        ],
        "graph",
        [onnx.helper.make_tensor_value_info("x", floats, ["n", "rows", 3000])],
        [onnx.helper.make_tensor_value_info("y", floats, None)],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx"
    )
    return folder


def test_an_imported_model(caffe, model) -> None:
    result = caffe("import", "m.onnx", "out.prototxt", "out.caffemodel", "--shape", "x=2x4x3000", "--target", "ssd")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == ["input x: 2 x 4 x 3000", "output y: 2 x 3000 x 4", "3 layers: 1 Input, 1 Permute, 1 ReLU"]
    assert [line.partition(" inputs: the outputs differ by ")[0] for line in lines[3:]] == ["random", "zero", "large"]
    net = caffe_lite.Net(model / "out.prototxt", caffe_lite.TEST, weights=model / "out.caffemodel")
    x = np.random.default_rng(0).normal(size=(2, 4, 3000))
    net.blobs["x"].data[...] = x
    np.testing.assert_allclose(net.forward()["y"], np.maximum(x, 0).transpose(0, 2, 1), rtol=1e-6)


def test_what_a_target_lacks_and_sizes_that_are_open_write_nothing(caffe, model) -> None:
    result = caffe("import", "m.onnx", "out.prototxt", "out.caffemodel", "--target", "bvlc", "--shape", "x=2x4x3000")
    assert result.returncode == 1
    assert (
        "1 node cannot be written in layers of BVLC's Caffe 1.0, and nothing was written:\n  turn (Transpose)"
        in result.stderr
    )
    assert "With --target ssd, all of them can be written" in result.stderr
    result = caffe("import", "m.onnx", "out.prototxt", "out.caffemodel")
    assert result.returncode == 1
    assert "leaves sizes of its input 'x' open: nxrowsx3000. Give them: --shape" in result.stderr
    assert caffe("import", "m.onnx", "a", "b", "--shape", "x:3").returncode == 2
    assert not list(model.glob("out.*"))
