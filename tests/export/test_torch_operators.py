"""Operators in PyTorch, as onnxruntime computes them: those that users' layers may write, and settings of others."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import NetError
from caffe_lite.onnx_graph import INT64, OnnxGraph, Value

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from caffe_lite.agreement.comparing import TOLERANCE, gap
from caffe_lite.agreement.onnx_running import OnnxRun, onnx
from caffe_lite.agreement.torch_running import TorchRun, module_of
from caffe_lite.export.onnx_file import model_of
from caffe_lite.export.torch_source import Source, source_of
from caffe_lite.export.writing import WrittenNet

SHAPE = (2, 4, 6, 5)
VECTOR = np.array([0.5, 1, 2, 3])


def places(g: OnnxGraph, x: Value, most: int) -> Value:
    """Return whole numbers from 0 to before ``most``."""
    return g.Cast(g.Mul(x, float(most)), to=INT64)


UNARY = (
    "Acos Asin Atan Ceil Celu Cos Erf Exp Flatten Floor GlobalAveragePool GlobalMaxPool HardSwish Identity IsInf IsNaN "
    "Log LogSoftmax Neg Reciprocal Round Selu Sign Sin Softsign Sqrt Tan"
)
CASES = {
    **{op: lambda g, x, op=op: getattr(g, op)(x) for op in UNARY.split()},
    **{
        f"{op} {axes}": lambda g, x, op=op, axes=axes: g.reduce(op, x, axes, keepdims=axes != [2])
        for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "ReduceMax")
        for axes in ([1], [2], [0, 3])
    },
    "ReduceProd": lambda g, x: g.reduce("ReduceProd", x, [1]),
    "ReduceMax of all": lambda g, x: g.ReduceMax(x),
    "ReduceMax to a scalar": lambda g, x: g.ReduceMax(x, keepdims=0),
    "Mean": lambda g, x: g.Mean(x, g.Neg(x), 0.5),
    "Sum": lambda g, x: g.Sum(x, x, x),
    "Max": lambda g, x: g.Max(x, g.Sub(1.0, x), 0.6),
    "Min": lambda g, x: g.Min(0.6, x),
    "Xor": lambda g, x: g.Cast(g.Xor(g.Less(x, 0.3), g.Greater(x, 0.2)), to=1),
    "Mod": lambda g, x: g.Mod(x, 0.3, fmod=1),
    "Div of whole numbers": lambda g, x: g.Cast(g.Div(g.Sub(places(g, x, 9), 4), 2), to=1),
    "Pow": lambda g, x: g.Pow(2.0, g.Pow(x, x)),
    "brackets": lambda g, x: g.Sub(x, g.Sub(g.Mul(x, g.Add(x, 1.0)), g.Div(x, g.Div(x, g.Neg(x))))),
    "Clip": lambda g, x: g.Clip(x, None, 0.5),
    "Clip 6": lambda g, x: g.Clip(g.Mul(x, 9.0), 0.0, 6.0),
    "HardSigmoid": lambda g, x: g.HardSigmoid(x, alpha=1 / 6, beta=0.5),
    "InstanceNormalization": lambda g, x: g.InstanceNormalization(x, VECTOR, VECTOR, epsilon=1e-3),
    "LayerNormalization": lambda g, x: g.LayerNormalization(x, np.arange(5.0), np.ones(5)),
    "LpNormalization": lambda g, x: g.LpNormalization(x, axis=1, p=1),
    "Gemm": lambda g, x: g.Gemm(g.flat(x, 1, 4), np.ones((3, 2)), VECTOR[:3], alpha=0.5, beta=2.0, transA=1, transB=1),
    "Gemm without transB": lambda g, x: g.Gemm(g.flat(x, 1, 4), np.ones((120, 3)), VECTOR[:3]),
    "Conv one side": lambda g, x: g.Conv(x, np.ones((2, 4, 3, 2)), pads=[0, 1, 2, 0], kernel_shape=[3, 2]),
    "PRelu": lambda g, x: g.PRelu(g.Sub(x, 0.5), np.linspace(0, 1, 20).reshape(4, 1, 5)),
    "AveragePool one side": lambda g, x: g.AveragePool(x, kernel_shape=[3, 3], pads=[0, 1, 2, 0], strides=[2, 1]),
    "AveragePool counted": lambda g, x: g.AveragePool(x, kernel_shape=[2, 3], pads=[0, 1, 1, 0], count_include_pad=1),
    "MaxPool one side": lambda g, x: g.MaxPool(x, kernel_shape=[3, 3], pads=[0, 1, 2, 0], strides=[2, 2]),
    "CumSum": lambda g, x: g.CumSum(x, 1, reverse=1),
    "CumSum exclusive": lambda g, x: g.CumSum(x, -1, exclusive=1),
    "ArgMax": lambda g, x: g.Cast(g.ArgMax(g.Round(g.Mul(x, 3.0)), axis=1, keepdims=0, select_last_index=1), to=1),
    "Flatten 0": lambda g, x: g.Flatten(x, axis=0),
    "Flatten 2": lambda g, x: g.Flatten(x, axis=2),
    "Transpose": lambda g, x: g.Transpose(x),
    "Squeeze all": lambda g, x: g.Squeeze(g.slice(x, [1], [2], [1])),
    "Squeeze axes": lambda g, x: g.Squeeze(g.slice(x, [1, 2], [2, 3], [1, 3]), [1, 3]),
    "Reshape with zeros": lambda g, x: g.Reshape(x, [0, -1, 2, 0]),
    "Size": lambda g, x: g.Mul(x, g.Cast(g.Size(x), to=1)),
    "Shape": lambda g, x: g.Mul(x, g.Cast(g.ReduceMax(g.Shape(g.Exp(x)), keepdims=0), to=1)),
    "Pad by reflection": lambda g, x: g.Pad(x, [0, 0, 1, 2, 0, 0, 1, 0], mode="reflect"),
    "Pad with edges": lambda g, x: g.Pad(x, [0, 0, 1, 2, 0, 0, 1, 0], mode="edge"),
    "Split": lambda g, x: g.Concat(*g.Split(x, [1, 3], axis=1, outputs=2)[::-1], axis=1),
    "Slice from the end": lambda g, x: g.Slice(x, [-3], [-1], [-1]),
    "Slice by twos": lambda g, x: g.Slice(x, [1, 0], [2**63 - 1, 4], [2, 3], [2, 3]),
    "Gather backwards": lambda g, x: g.Gather(x, [3, 2, 1, 0], axis=1),
    "Gather one": lambda g, x: g.Gather(x, 2, axis=-1),
    "Gather some": lambda g, x: g.Gather(x, [[3, 0], [1, 1]], axis=1),
    "GatherND": lambda g, x: g.GatherND(x, np.array([[[1, 2]], [[0, 5]]]), batch_dims=1),
    "ScatterElements": lambda g, x: g.ScatterElements(x, places(g, x, 4), x, axis=1, reduction="add"),
    "ScatterND": lambda g, x: g.ScatterND(x, np.array([[0, 1], [1, 3]]), np.ones((2, 6, 5)), reduction="add"),
    "OneHot": lambda g, x: g.OneHot(places(g, x, 4), 4, np.array([-1.0, 2.0]), axis=1),
    "DepthToSpace": lambda g, x: g.DepthToSpace(x, blocksize=2),
    "DepthToSpace CRD": lambda g, x: g.DepthToSpace(x, blocksize=2, mode="CRD"),
    "Resize cubic": lambda g, x: g.Resize(x, None, np.array([1, 1, 2.0, 3.0]), mode="cubic"),
    "Resize half": lambda g, x: g.Resize(x, None, None, np.array([2, 4, 9, 7]), mode="linear"),
    "Resize nearest": lambda g, x: g.Resize(x, None, np.array([1, 1, 2.0, 3.0])),
    "TopK smallest": lambda g, x: g.TopK(x, [2], axis=1, largest=0, outputs=2)[0],
    "Expand": lambda g, x: g.Expand(g.slice(x, [0], [1], [1]), [2, 3, 1, 1]),
    "Tile": lambda g, x: g.Tile(x, [1, 2, 1, 1]),
}


def written(case: str) -> tuple[Source, WrittenNet]:
    g = OnnxGraph(layer="layer")
    x = g.input("x", SHAPE)
    y = g.Identity(CASES[case](g, x))
    y.name, y.shape = "y", ()
    g.outputs.append(y)
    net = WrittenNet(g, {"x": x, "y": y}, ["x"], ["y"], [], False)
    source = source_of(net, "net", "net.safetensors")
    return source, net


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_onnxruntime(case: str) -> None:
    source, net = written(case)
    x = np.random.default_rng(0).uniform(0.05, 0.95, SHAPE).astype(np.float32)
    wanted = _without_sizes(net)({"x": x})["y"]
    got = TorchRun(module_of(source.text, source.name, source.arrays()), ["x"], ["y"])({"x": x})["y"]
    assert gap("y", wanted.astype(np.float64), got.astype(np.float64)).size < TOLERANCE


def _without_sizes(net: WrittenNet):
    """Return what runs a graph whose outputs have sizes that are not known beforehand."""
    model = model_of(net, "net")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if model.graph.node[-2].op_type in ("IsInf", "IsNaN"):
        model.graph.output[0].type.tensor_type.elem_type = onnx().TensorProto.BOOL
    return OnnxRun(model.SerializeToString())


def test_what_cannot_be_said_is_told_with_the_layer() -> None:
    g = OnnxGraph(layer="strange")
    x = g.input("x", SHAPE)
    y = g.Resize(g.Slice(x, [5], [0], [2], [-2]), None, np.array([1, 1, 1.5, 1.5]), coordinate_transformation_mode="tf")
    y.name, y.shape = "y", ()
    g.outputs.append(y)
    with pytest.raises(NetError, match=r'layer "strange": Slice .* it steps backwards'):
        source_of(WrittenNet(g, {}, ["x"], ["y"], [], False), "net", "")
