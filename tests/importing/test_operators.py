"""Every operator, for every target, against onnxruntime; and which targets have no layers for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from caffe_lite.errors import NetError
from caffe_lite.export import from_onnx
from caffe_lite.importing.conversion import convert
from caffe_lite.importing.targets import TARGETS
from caffe_lite.importing.writer import SPELLINGS
from caffe_lite.proto.fork_fields import set_fields

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

IMAGE = (2, 6, 7, 9)
ROWS = (2, 5, 6)


def values(*shape: int, least: float = -1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(least, 1, shape).astype(np.float32)


def numbers(*n: int) -> np.ndarray:
    return np.array(n, np.int64)


@dataclass
class Case:
    """A node over x and constants; ``only`` are the targets that have layers for it."""

    operator: str
    shape: tuple[int, ...] = IMAGE
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ("bvlc", "ssd", "all")
    opset: int = 17
    order: str = ""  # of the inputs, if it is not x and then the constants
    outputs: int = 1
    positive: bool = False
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{self.operator}-{'-'.join(f'{k}{v}' for k, v in self.attributes.items())}"


def conv(name: str, shape: tuple[int, ...] = IMAGE, weight: tuple[int, ...] = (4, 6, 3, 3), **attributes: Any) -> Case:
    constants = {"w": values(*weight), "b": values(weight[0])}
    return Case("Conv", shape, constants, attributes, name=f"Conv-{name}")


def transposed(name: str, weight: tuple[int, ...] = (6, 4, 3, 3), **attributes: Any) -> Case:
    group = attributes.get("group", 1)
    constants = {"w": values(*weight), "b": values(weight[1] * group)}
    return Case("ConvTranspose", IMAGE, constants, attributes, name=f"ConvTranspose-{name}")


def pool(operator: str, shape: tuple[int, ...] = IMAGE, **attributes: Any) -> Case:
    only = ("all",) if "dilations" in attributes else ("bvlc", "ssd", "all")
    return Case(operator, shape, {}, attributes, only=only)


def resize(sizes: tuple[int, ...], **attributes: Any) -> Case:
    constants = {"roi": values(0), "scales": values(0), "sizes": numbers(*sizes)}
    return Case("Resize", (2, 3, 4, 5), constants, attributes, opset=18)


def by(operator: str, *shape: int, first: bool = False, x: tuple[int, ...] = IMAGE) -> Case:
    name = f"{operator}-{'first' if first else 'second'}-{'x'.join(map(str, shape))}"
    return Case(operator, x, {"c": values(*shape, least=0.5)}, order="c x" if first else "", name=name)


CASES = [
    Case(
        "MaxRoiPool",
        constants={"rois": np.array([[0, 0, 2, 8, 9], [1, 4, 0, 17, 13], [1, 3, 3, 3, 3]], np.float32)},
        attributes={"pooled_shape": [2, 3], "spatial_scale": 0.5},
        only=("all",),
    ),
    *(Case(name) for name in ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Abs", "Softplus", "Exp")),
    *(Case(name) for name in ("Neg", "HardSigmoid", "HardSwish", "Softsign", "Erf", "Identity", "ThresholdedRelu")),
    *(Case(name, positive=True) for name in ("Log", "Sqrt", "Reciprocal")),
    Case("Mish", opset=18),
    Case("Gelu", opset=20),
    Case("Gelu", attributes={"approximate": "tanh"}, opset=20),
    Case("Sign"),
    Case("Dropout", outputs=1),
    Case("Cast", attributes={"to": 1}),
    Case("PRelu", constants={"slope": values(6, 1, 1)}, name="PRelu-channels"),
    Case("PRelu", constants={"slope": values(1)}, name="PRelu-shared"),
    Case("Clip", constants={"low": np.float32(0), "high": np.float32(6)}, name="Clip-0-6"),
    Case("Clip", constants={"low": np.float32(-0.5), "high": np.float32(0.25)}, name="Clip-both"),
    Case("Clip", constants={"low": np.float32(-0.5)}, name="Clip-low"),
    Case("Clip", attributes={"max": 0.5}, opset=6, name="Clip-high-opset6"),
    Case("Pow", constants={"n": np.float32(2)}),
    *(by(name, *shape) for name in ("Add", "Sub", "Mul", "Div") for shape in ((1,), (6, 1, 1), (7, 1), IMAGE[1:])),
    *(by(name, *shape, first=True) for name in ("Sub", "Div", "Max", "Min") for shape in ((1,),)),
    by("Add", 9),
    by("Mul", 1, 6, 1, 9),
    by("Add", 2, 6, 7, 9),
    by("Max", 6, 1, 1),
    by("Min", 6, 1, 1),
    by("Add", 1, 6, 7, 9, x=(1, 6, 1, 9)),
    conv("plain", pads=[1, 1, 1, 1]),
    conv("stride", strides=[2, 3], pads=[1, 0, 1, 0]),
    conv("uneven padding", pads=[0, 2, 1, 0], strides=[2, 2]),
    conv("dilation", dilations=[2, 2], pads=[2, 2, 2, 2]),
    conv("uneven padding and dilation", dilations=[2, 1], pads=[0, 1, 2, 2]),
    conv("group", weight=(9, 2, 3, 3), group=3),
    conv("depthwise", weight=(6, 1, 3, 3), group=6, pads=[1, 1, 1, 1]),
    conv("same upper", auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("same lower", weight=(4, 6, 2, 4), auto_pad="SAME_LOWER"),
    conv("of one axis", (2, 6, 9), (4, 6, 3), pads=[1, 0]),
    conv("of three axes", (1, 2, 4, 5, 6), (4, 2, 3, 3, 3), pads=[1, 1, 1, 1, 1, 1]),
    Case("Conv", constants={"w": values(4, 6, 3, 3)}, name="Conv-without-bias"),
    transposed("plain"),
    transposed("stride", strides=[2, 2], pads=[1, 1, 1, 1]),
    transposed("output padding", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    transposed("uneven", strides=[2, 2], pads=[0, 1, 1, 0]),
    transposed("output shape", strides=[2, 2], output_shape=[14, 17]),
    transposed("group", weight=(6, 2, 2, 2), group=3, strides=[2, 2]),
    transposed("dilation", dilations=[2, 2], strides=[2, 2], pads=[1, 2, 0, 2], output_padding=[1, 0]),
    *(
        pool(operator, shape, kernel_shape=[3, 3], **attributes)
        for operator in ("MaxPool", "AveragePool")
        for shape in ((2, 3, 8, 9), (2, 3, 7, 6))
        for attributes in (
            {"strides": [2, 2]},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "pads": [0, 0, 1, 1]},
            {"strides": [2, 1], "pads": [1, 0, 0, 1]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        )
    ),
    pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    pool("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1),
    pool("MaxPool", (2, 3, 9), kernel_shape=[3], strides=[2]),
    pool("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    *(Case(name, shape) for name in ("GlobalAveragePool", "GlobalMaxPool") for shape in (IMAGE, (2, 3, 4))),
    Case("Gemm", (2, 6), {"w": values(4, 6), "b": values(4)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", (2, 6), {"w": values(6, 4)}, name="Gemm-without-bias"),
    Case("MatMul", ROWS, {"w": values(6, 4)}),
    Case("MatMul", (2, 3, 5, 6), {"w": values(2, 3, 6, 4)}, only=("all",), name="MatMul-of-matrices"),
    Case("BatchNormalization", constants={k: values(6, least=0.1, seed=i) for i, k in enumerate("sbmv")}),
    Case("BatchNormalization", (3, 6), {k: values(6, least=0.1) for k in "sbmv"}, {"epsilon": 1e-3}),
    Case("InstanceNormalization", constants={"s": values(6), "b": values(6)}),
    Case("InstanceNormalization", ROWS, {"s": values(5), "b": values(5)}, name="InstanceNormalization-rows"),
    Case("LayerNormalization", ROWS, {"s": values(6), "b": values(6)}),
    Case("LayerNormalization", IMAGE, {"s": values(6, 7, 9)}, {"axis": 1}),
    Case("GroupNormalization", constants={"s": values(6), "b": values(6)}, attributes={"num_groups": 3}, opset=21),
    Case("LpNormalization", attributes={"axis": 1}),
    Case("LpNormalization", ROWS, attributes={"axis": -1}),
    Case("LRN", attributes={"size": 3, "alpha": 0.1, "bias": 2.0}),
    Case("Softmax", (2, 6), attributes={"axis": 1}),
    Case("Softmax", attributes={"axis": 1}),
    Case("Softmax", ROWS, attributes={"axis": 1}, opset=11),
    Case("LogSoftmax", (3, 6), attributes={"axis": -1}),
    Case("ReduceMean", attributes={"axes": [2, 3]}),
    Case("ReduceMean", attributes={"axes": [-1, -2], "keepdims": 0}),
    Case("ReduceMean", attributes={"axes": [1]}),
    Case("ReduceMean", ROWS, attributes={"axes": [1], "keepdims": 0}),
    Case("ReduceSum", constants={"axes": numbers(3)}),
    Case("ReduceMax", attributes={"axes": [1]}),
    Case("ReduceMin", attributes={"axes": [2, 3], "keepdims": 0}),
    Case("ReduceMax", attributes={"axes": [2, 3]}),
    *(
        Case(name, attributes={"axes": axes})
        for name in ("ReduceL1", "ReduceL2", "ReduceSumSquare")
        for axes in ([1], [3])
    ),
    Case("ArgMax", attributes={"axis": 1}),
    Case("ArgMax", ROWS, attributes={"axis": -1, "keepdims": 0, "select_last_index": 1}),
    Case("Reshape", constants={"shape": numbers(0, -1)}, name="Reshape-flat"),
    Case("Reshape", constants={"shape": numbers(-1, 3, 7, 9)}, name="Reshape-batch"),
    Case("Flatten", attributes={"axis": 2}),
    Case("Squeeze", (2, 6, 1, 1), {"axes": numbers(2, 3)}),
    Case("Unsqueeze", (2, 6), {"axes": numbers(0, 3)}),
    Case("Transpose", attributes={"perm": [0, 2, 3, 1]}, name="Transpose-small"),
    Case("Transpose", (2, 64, 9, 9), attributes={"perm": [0, 3, 1, 2]}, only=("ssd", "all"), name="Transpose-large"),
    Case("Transpose", attributes={"perm": [3, 0, 1, 2]}, only=("ssd", "all"), name="Transpose-batch"),
    Case("Transpose", (1, 6, 7), attributes={"perm": [1, 0, 2]}, name="Transpose-ones"),
    Case("Expand", (2, 1, 4), {"shape": numbers(3, 2, 5, 4)}),
    Case("Tile", (2, 3, 4), {"n": numbers(1, 2, 3)}),
    Case("Concat", constants={"c": values(2, 3, 7, 9)}, attributes={"axis": 1}),
    Case("Split", constants={"sizes": numbers(1, 3, 2)}, attributes={"axis": 1}, outputs=3),
    Case("Split", attributes={"axis": 1}, outputs=2, opset=11),
    Case("Slice", constants={"s": numbers(1, -4), "e": numbers(3, 9), "a": numbers(1, 3)}, name="Slice-pieces"),
    Case("Slice", constants={"s": numbers(0), "e": numbers(9), "a": numbers(2), "n": numbers(2)}, name="Slice-steps"),
    Case(
        "Slice", constants={"s": numbers(1), "e": numbers(99), "a": numbers(1), "n": numbers(2)}, name="Slice-channels"
    ),
    Case(
        "Slice", constants={"s": numbers(-1), "e": numbers(-99), "a": numbers(1), "n": numbers(-1)}, name="Slice-back"
    ),
    Case("Gather", constants={"i": numbers(4, 0, 0, -1)}, attributes={"axis": 1}),
    Case("Gather", constants={"i": np.array(2)}, attributes={"axis": 1}, name="Gather-one"),
    Case("Pad", constants={"p": numbers(0, 0, 1, 0, 0, 0, 0, 2)}),
    Case("Pad", constants={"p": numbers(0, 0, 1, 0, 0, 0, 0, 2), "v": np.float32(3)}, only=("all",), name="Pad-3"),
    *(
        Case("Pad", constants={"p": numbers(0, 0, 2, 1, 0, 0, 3, 0)}, attributes={"mode": m})
        for m in ("reflect", "edge")
    ),
    Case("DepthToSpace", (2, 8, 3, 4), attributes={"blocksize": 2}),
    Case("DepthToSpace", (2, 8, 3, 4), attributes={"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (2, 3, 4, 6), attributes={"blocksize": 2}),
    *(
        resize(sizes, mode=mode, coordinate_transformation_mode=rule)
        for sizes in ((2, 3, 8, 10), (2, 3, 7, 3))
        for mode in ("nearest", "linear", "cubic")
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
    Case("Resize", (2, 3, 4, 5), {"roi": values(0), "s": np.float32([1, 1, 1.7, 2.3])}, {"mode": "linear"}, opset=13),
    Case("Upsample", (2, 3, 4, 5), {"s": np.float32([1, 1, 3, 3])}, {"mode": "nearest"}, opset=9),
    *(
        Case(
            "LSTM",
            (4, 2, 3),
            {"w": values(n, 20, 3), "r": values(n, 20, 5, seed=1), "b": values(n, 40, seed=2)},
            {"hidden_size": 5, "direction": direction},
            outputs=outputs,
            name=f"LSTM-{direction}-{outputs}",
        )
        for n, direction in ((1, "forward"), (1, "reverse"), (2, "bidirectional"))
        for outputs in (1, 2, 3)
    ),
]


def model_of(case: Case, make_model: Any) -> Any:
    names = case.order.split() or ["x", *case.constants]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = onnx.helper.make_node(case.operator, names, outputs, name="node", **case.attributes)
    made = make_model([node], {"x": case.shape}, case.constants, outputs, case.opset)
    if case.operator == "ArgMax":
        made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return made


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operators(case: Case, make_model) -> None:
    model = model_of(case, make_model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = values(*case.shape, least=0.1 if case.positive else -1, seed=5)
    seen: list[Any] = []
    for target in TARGETS:
        if target not in case.only:
            with pytest.raises(NetError, match="cannot be written"):
                convert(model, target)
            continue
        converted = convert(model, target).net
        if converted in seen:
            continue
        seen.append(converted)
        imported = from_onnx(model, target=target)
        net = imported.net
        net.blobs["x"].data[...] = x
        net.forward()
        assert set(net.outputs) == set(imported.outputs)
        for name, wanted in zip(imported.outputs, session.run(None, {"x": x}), strict=True):
            assert net.blobs[name].data.shape == wanted.shape
            np.testing.assert_allclose(net.blobs[name].data, wanted, rtol=1e-4, atol=2e-5, err_msg=target)
        if target != "all":
            assert {layer.type for layer in imported.message.layer} <= set(TARGETS[target].layers or ())
            assert {field.key for _, field in set_fields(imported.message)} <= {"LayerParameter.permute_param"}
            assert not any(layer.pooling_param.HasField("round_mode") for layer in imported.message.layer)


def test_all_operators_are_tested() -> None:
    elsewhere = {"ChannelShuffle", "Swish", "Sum", "Mean"}
    assert {case.operator for case in CASES} == set(SPELLINGS) - elsewhere
