"""What becomes of several nodes together, of names, of sizes that are open, and of models that cannot be written."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import NetError
from caffe_lite.importing.conversion import convert

onnx = pytest.importorskip("onnx")

IMAGE = (2, 6, 4, 5)


def node(operator: str, inputs: str, outputs: str = "y", **attributes):
    return onnx.helper.make_node(operator, inputs.split(), outputs.split(), name=f"the {outputs}", **attributes)


def types(model, target: str = "all") -> list[str]:
    return [layer.type for layer in convert(model, target).net.layer if layer.type != "Input"]


HALF = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
GATE = [node("Add", "x three", "a"), node("Clip", "a zero six", "b")]
ROOT = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
CURVE = [node("Div", "x root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c")]


@pytest.mark.parametrize(
    ("nodes", "constants", "layer"),
    [
        ([*GATE, node("Mul", "x b", "c"), node("Div", "c six")], HALF, "HardSwish"),
        ([*GATE, node("Div", "b six", "c"), node("Mul", "c x")], HALF, "HardSwish"),
        ([*GATE, node("Div", "b six")], HALF, "HardSigmoid"),
        ([node("HardSigmoid", "x", "a", alpha=1 / 6), node("Mul", "a x")], {}, "HardSwish"),
        ([node("Sigmoid", "x", "a"), node("Mul", "a x")], {}, "Swish"),
        ([node("Softplus", "x", "a"), node("Tanh", "a", "b"), node("Mul", "x b")], {}, "Mish"),
    ],
)
def test_idioms_become_one_layer(make_model, nodes, constants, layer) -> None:
    assert types(make_model(nodes, {"x": IMAGE}, constants)) == [layer]


@pytest.mark.parametrize(
    "last",
    [
        [node("Mul", "x c", "d"), node("Mul", "d half")],
        [node("Mul", "x half", "d"), node("Mul", "d c")],
        [node("Mul", "c half", "d"), node("Mul", "d x")],
    ],
)
def test_gelu_of_an_error_function_is_as_gelu(make_model, last) -> None:
    spelt = types(make_model([*CURVE, *last], {"x": IMAGE}, ROOT))
    assert spelt == types(make_model([node("Gelu", "x")], {"x": IMAGE}, opset=20))


def test_layer_normalisation_in_its_parts(make_model) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    constants = {"two": np.float32(2), "eps": np.float32(1e-5), "s": np.float32([1, 2, 3]), "b": np.float32([4, 5, 6])}
    nodes = [
        node("ReduceMean", "x", "mean", axes=[-1]),
        node("Sub", "x mean", "a"),
        node("Pow", "a two", "square"),
        node("ReduceMean", "square", "variance", axes=[-1]),
        node("Add", "variance eps", "more"),
        node("Sqrt", "more", "deviation"),
        node("Div", "a deviation", "c"),
        node("Mul", "c s", "d"),
        node("Add", "d b"),
    ]
    for shape in ((2, 4, 3), (2, 4, 5, 3)):
        net = from_onnx(make_model(nodes, {"x": shape}, constants), target="bvlc").net
        x = np.random.default_rng(0).normal(size=shape)
        net.blobs["x"].data[...] = x
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(net.forward()["y"], scaled * [1, 2, 3] + [4, 5, 6], atol=1e-4)


def test_what_looks_like_an_idiom_but_has_another_number_is_none(make_model) -> None:
    numbers = HALF | {"three": np.float32(2)}
    model = make_model([*GATE, node("Mul", "x b", "c"), node("Div", "c six")], {"x": IMAGE}, numbers)
    assert "HardSwish" not in types(model)


def test_channels_are_shuffled_by_one_layer(make_model) -> None:
    shapes = {"open": np.array([2, 3, 2, 4, 5]), "shut": np.array(IMAGE)}
    nodes = [
        node("Reshape", "x open", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "b shut"),
    ]
    model = make_model(nodes, {"x": IMAGE}, shapes)
    assert types(model) == ["ShuffleChannel"]
    (layer,) = [layer for layer in convert(model, "bvlc").net.layer if layer.type == "Convolution"]
    assert layer.convolution_param.num_output == 6


def test_padding_and_terms_are_merged(make_model) -> None:
    constants = {"pads": np.array([0, 0, 1, 2, 0, 0, 1, 2]), "w": np.ones((3, 6, 3, 3), np.float32)}
    constants["term"] = np.ones((3, 1, 1), np.float32)
    nodes = [node("Pad", "x pads", "a"), node("Conv", "a w", "b"), node("Add", "b term")]
    (_, layer) = convert(make_model(nodes, {"x": IMAGE}, constants), "bvlc").net.layer
    assert (list(layer.convolution_param.pad), layer.convolution_param.bias_term) == ([1, 2], True)


PADS = {"pads": np.array([0, 0, 1, 0, 0, 0, 2, 1])}
ONES = np.arange(36, dtype=np.float32)


@pytest.mark.parametrize(
    ("nodes", "constants", "wanted"),
    [
        ([node("Pad", "x pads", "a"), node("AveragePool", "a", kernel_shape=[3, 3])], PADS, ["Pooling", "Slice"]),
        (
            [node("MatMul", "x w", "a"), node("Add", "t a")],
            {"w": ONES[:15].reshape(5, 3), "t": ONES[:3]},
            ["InnerProduct"],
        ),
        (
            [node("ConvTranspose", "x w", "a"), node("Add", "a t")],
            {"w": ONES.reshape(6, 3, 2, 1), "t": ONES[:3].reshape(3, 1, 1)},
            ["Deconvolution"],
        ),
    ],
)
def test_merged_nodes_compute_the_same(make_model, nodes, constants, wanted) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    imported = from_onnx(make_model(nodes, {"x": IMAGE}, constants), target="bvlc")
    assert set(wanted) <= {layer.type for layer in imported.message.layer} <= {*wanted, "Input", "Slice", "Silence"}


def test_padding_of_max_pooling_stays_unless_it_never_wins(make_model) -> None:
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    nodes = [node("Pad", "x pads value", "a"), node("MaxPool", "a", kernel_shape=[3, 3])]
    for value, wanted in ((0.0, ["Pad", "Pooling"]), (-np.inf, ["Pooling"])):
        model = make_model(nodes, {"x": IMAGE}, {"pads": pads, "value": np.float32(value)})
        assert types(model) == wanted


def test_constants_and_arithmetic_of_shapes_are_computed(make_model) -> None:
    constants = {"two": np.array(2), "last": np.array([-1])}
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape two", "height"),
        node("Unsqueeze", "height zero", "row"),
        node("Concat", "row last", "sizes", axis=0),
        node("Reshape", "x sizes"),
    ]
    assert types(make_model(nodes, {"x": IMAGE}, constants | {"zero": np.array([0])})) == ["Reshape"]


def test_names_are_those_of_the_model(make_model) -> None:
    constants = {"body.0.weight": np.ones((3, 6, 1, 1), np.float32)}
    nodes = [
        node("Conv", "x body.0.weight", "/body/Conv_output_0"),
        node("Relu", "/body/Conv_output_0", "/relu_output_0"),
    ]
    nodes.append(node("Sigmoid", "/relu_output_0", "y"))
    net = convert(make_model(nodes, {"x": IMAGE}, constants), "bvlc").net
    assert [(layer.name, list(layer.top)) for layer in net.layer] == [
        ("x", ["x"]),
        ("body.0", ["body.0"]),
        ("relu", ["relu"]),
        ("y", ["y"]),
    ]


def test_an_output_that_layers_read_is_an_output_of_the_net(make_model) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    nodes = [node("Relu", "x", "a"), node("Sigmoid", "a", "b"), node("Identity", "b", "c")]
    imported = from_onnx(make_model(nodes, {"x": IMAGE}, outputs=["a", "b", "c"]))
    assert set(imported.net.outputs) == {"a", "b", "c"}


def test_the_target_that_can_is_told_for_all_nodes_at_once(make_model) -> None:
    constants = {"pads": np.array([0, 1, 0, 0, 0, 0, 0, 0])}
    nodes = [
        node("Transpose", "x", "a", perm=[3, 0, 1, 2]),
        node("Pad", "a pads", "b"),
        node("Floor", "b", "c"),
        node("Einsum", "c", "y", equation="ijkl->lkji"),
    ]
    with pytest.raises(NetError) as raised:
        convert(make_model(nodes, {"x": IMAGE}, constants), "bvlc")
    _, first, second, third, fourth = str(raised.value).splitlines()
    assert first.startswith("  the a (Transpose): ") and "BVLC's Caffe 1.0 has no Permute" in first
    assert first.endswith("(--target ssd or all can)")
    assert second.startswith("  the b (Pad): BVLC's Caffe 1.0 has no Pad") and "(--target all can)" in second
    assert third == "  the c (Floor): no layer computes this"
    assert fourth.startswith("  the y (Einsum): no layer computes this. Change the model there")


def test_sizes_that_are_open(make_model) -> None:
    model = make_model([node("Relu", "x")], {"x": ["batch", 3, "height", "width"]})
    with pytest.raises(
        NetError, match=r"leaves sizes of its input 'x' open: batchx3xheightxwidth. Give them: --shape x="
    ):
        convert(model, "all")
    (given, _) = convert(model, "all", {"x": (2, 3, 8, 9)}).net.layer
    assert list(given.input_param.shape[0].dim) == [2, 3, 8, 9]
    with pytest.raises(NetError, match="'x' has 4 axes, and 2 sizes are given"):
        convert(model, "all", {"x": (2, 3)})
    with pytest.raises(NetError, match=r"no input 'data'\. Its inputs are x"):
        convert(model, "all", {"data": (1,)})
    (first, _) = convert(make_model([node("Relu", "x")], {"x": ["batch", 3]}), "all").net.layer
    assert list(first.input_param.shape[0].dim) == [1, 3]


def test_shapes_that_depend_on_values(make_model) -> None:
    nodes = [node("NonZero", "x", "a"), node("ScatterND", "x a x", "b"), node("Relu", "b"), node("Floor", "x", "z")]
    with pytest.raises(NetError) as raised:
        convert(make_model(nodes, {"x": IMAGE}, outputs=["y", "z"]), "all")
    assert str(raised.value).splitlines()[1:] == [
        "  the a (NonZero): no layer computes this",
        "  the z (Floor): no layer computes this. Change the model there, or cut it before these nodes.",
    ]
    nodes = [node("Reshape", "x sizes")]
    model = make_model(nodes, {"x": IMAGE, "sizes": (2,)})
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(NetError, match=r"the y \(Reshape\): values decide the shape of its result"):
        convert(model, "all")


def test_an_output_that_no_layer_computes(make_model) -> None:
    model = make_model([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], {"x": IMAGE}, outputs=["y", "i"])
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(NetError, match="no layer computes its output i"):
        convert(model, "all")


def test_operators_of_other_domains(make_model) -> None:
    nodes = [onnx.helper.make_node("FusedConv", ["x"], ["y"], "fused", domain="com.microsoft")]
    model = make_model(nodes, {"x": IMAGE})
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(NetError, match=r"fused \(FusedConv\): no layer computes com.microsoft"):
        convert(model, "all")


@pytest.mark.parametrize("operator", ["Sum", "Mean"])
def test_sums_of_several(make_model, operator) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    model = make_model([node(operator, "x z c")], {"x": IMAGE, "z": (6, 4, 5)}, {"c": np.ones((4, 1), np.float32)})
    net = from_onnx(model, target="bvlc").net
    x, z = np.full(IMAGE, 2.0), np.full((6, 4, 5), 3.0)
    net.blobs["x"].data[...], net.blobs["z"].data[...] = x, z
    np.testing.assert_allclose(net.forward()["y"], (x + z + 1) / (3 if operator == "Mean" else 1), rtol=1e-6)


def test_rows_of_a_table(make_model) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    model = make_model([node("Gather", "table x")], {"x": (2, 5)}, {"table": table})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    net = from_onnx(model, target="bvlc").net
    indices = np.array([[0, 1, 2, 3, 0], [3, 3, 1, 0, 2]])
    net.blobs["x"].data[...] = indices
    np.testing.assert_array_equal(net.forward()["y"], table[indices])


def test_files_that_are_no_models(tmp_path) -> None:
    with pytest.raises(NetError, match="there is no such file"):
        convert(tmp_path / "net.onnx", "all")
    (tmp_path / "net.onnx").write_text("layer { }")
    with pytest.raises(NetError, match="this is not an ONNX model"):
        convert(tmp_path / "net.onnx", "all")


def test_the_batch_may_change(make_model) -> None:
    from caffe_lite.export import from_onnx

    pytest.importorskip("onnxruntime")
    constants = {"w": np.ones((4, 24), np.float32), "s": np.ones(6, np.float32)}
    nodes = [
        node("InstanceNormalization", "x s s", "a"),
        node("Relu", "a", "b"),
        node("ReduceMean", "b", "c", axes=[3], keepdims=0),
        node("Flatten", "c", "d"),
        node("Gemm", "d w", transB=1),
    ]
    net = from_onnx(make_model(nodes, {"x": (1, 6, 4, 5)}, constants)).net
    images = np.random.default_rng(0).normal(size=(3, 6, 4, 5))
    net.blobs["x"].reshape(3, 6, 4, 5)
    net.blobs["x"].data[...] = images
    all_at_once = net.forward()["y"].copy()
    net.blobs["x"].reshape(1, 6, 4, 5)
    for image, wanted in zip(images, all_at_once, strict=True):
        net.blobs["x"].data[...] = image
        np.testing.assert_allclose(net.forward()["y"][0], wanted, rtol=1e-5)
