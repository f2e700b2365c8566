"""Net and Layer: names, numbers, outputs, learned arrays, and what is refused."""

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import CaffeError, NetError, PrototxtError, UnknownName, WeightsError
from caffe_lite.proto.arrays import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter

NET = b"""
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "first" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "split" type: "Split" bottom: "conv1" top: "a" top: "b" }
layer { name: "parts" type: "Slice" bottom: "a" top: "p" top: "q" slice_param { axis: 1 slice_point: 1 } }
layer { name: "unread" type: "Silence" bottom: "p" }
layer { name: "ip" type: "InnerProduct" bottom: "b" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "prob" type: "Sigmoid" bottom: "ip" top: "sigmoid" }
"""
NAMES = ("conv1", "relu1", "split", "parts", "unread", "ip", "prob", "loss", "prob_1")
RNG = np.random.default_rng(5)
WEIGHTS = {"first": [(4, 3, 3, 3), (4,)], "ip": [(5, 144), (5,)]}
ARRAYS = {name: [RNG.standard_normal(shape).astype("f") for shape in shapes] for name, shapes in WEIGHTS.items()}
IMAGE = RNG.standard_normal((1, 3, 8, 8)).astype("f")


def caffemodel(arrays: dict[str, list[np.ndarray]]) -> bytes:
    model = NetParameter()
    for name, blobs in arrays.items():
        layer = model.layer.add(name=name)
        layer.blobs.extend(array_to_blobproto(blob) for blob in blobs)
    return model.SerializeToString()


@pytest.fixture
def net() -> dnn.Net:
    net = dnn.readNetFromCaffe(NET, caffemodel(ARRAYS))
    net.setInput(IMAGE)
    return net


def test_layers_have_opencvs_names_and_numbers(net):
    assert net.getLayerNames() == NAMES
    assert net.getUnconnectedOutLayersNames() == ("unread", "prob", "loss", "prob_1")
    assert net.getUnconnectedOutLayers().tolist() == [5, 7, 8, 9]
    assert [net.getLayerId(name) for name in ("_input", "conv1", "prob_1", "data", "sigmoid")] == [0, 1, 9, -1, -1]
    assert net.getLayerId("first") == 1  # as older OpenCVs call it
    assert (net.getLayer(1).name, net.getLayer("prob_1").type) == ("conv1", "Sigmoid")
    assert (net.getLayer(0).name, net.getLayer(0).outputNameToIndex("data")) == ("_input", 0)
    assert net.getLayer(0).outputNameToIndex("label") == -1
    assert net.getLayersCount("Softmax") == 1
    assert {"Input", "__NetInputLayer__"} & set(net.getLayerTypes()) == {"__NetInputLayer__"}


def test_outputs_are_asked_for_by_the_names_of_layers(net):
    conv, relu, part = net.forward(["conv1", "relu1", "parts"])
    assert conv.min() < 0 <= relu.min()
    np.testing.assert_array_equal(relu, np.maximum(conv, 0))
    np.testing.assert_array_equal(part, relu[:, :1])
    np.testing.assert_array_equal(net.forward("conv1"), conv)
    scores = ARRAYS["ip"][0] @ relu.ravel() + ARRAYS["ip"][1]
    np.testing.assert_allclose(net.forward(), 1 / (1 + np.exp(-scores[None])), atol=1e-6)
    assert net.forward("prob").sum() == pytest.approx(1)


def test_all_outputs_of_layers(net):
    split, parts, unread = net.forwardAndRetrieve(["split", "parts", "unread"])
    assert [len(outputs) for outputs in (split, parts, unread)] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts, 1), split[1])
    np.testing.assert_array_equal(unread[0], parts[0])
    assert net.forward(outputName="parts").shape == (1, 1, 6, 6)
    assert [output.shape for output in net.forward([], "parts")] == [(1, 1, 6, 6), (1, 3, 6, 6)]


def test_outputs_are_the_users_own(net):
    kept = net.forward("conv1")
    before = kept.copy()
    net.setInput(IMAGE + 1)
    net.forward()
    np.testing.assert_array_equal(kept, before)


def test_its_size_is_the_inputs():
    net = dnn.readNetFromCaffe(NET.replace(b"InnerProduct", b"Softmax"), caffemodel({"first": ARRAYS["first"]}))
    for shape in ((1, 3, 8, 8), (2, 3, 12, 9), (1, 3, 8, 8)):
        net.setInput(np.ones(shape, "f"))
        assert net.forward("relu1").shape == (shape[0], 4, shape[2] - 2, shape[3] - 2)


@pytest.mark.parametrize(
    ("blob", "options", "wanted"),
    [
        (np.arange(24, dtype=np.uint8).reshape(1, 3, 2, 4), {}, lambda x: x),
        (np.arange(24.0).reshape(1, 3, 2, 4), {"scalefactor": 0.5}, lambda x: x / 2),
        (
            np.arange(24, dtype="f").reshape(1, 3, 2, 4),
            {"scalefactor": 2, "mean": (1, 2, 3)},
            lambda x: 2 * (x - np.reshape([1, 2, 3], (3, 1, 1))),
        ),
        (np.arange(24, dtype="f").reshape(1, 2, 3, 4), {"mean": 5.0}, lambda x: x - np.reshape([5, 0], (2, 1, 1))),
        (np.arange(5, dtype="f"), {}, lambda x: x[:, None]),
    ],
)
def test_values_of_an_input(blob, options, wanted):
    net = dnn.readNetFromCaffe(b'input: "x" layer { name: "y" type: "Power" bottom: "x" top: "y" }')
    net.setInput(blob, **options)
    found = net.forward()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted(blob))


def test_two_inputs():
    net = dnn.readNetFromCaffe(
        b'input: "x" input: "y" layer { name: "z" type: "Eltwise" bottom: "x" bottom: "y" top: "z" }'
    )
    net.setInput(np.ones((1, 2), "f"))
    with pytest.raises(NetError, match=r"input 'y' has no values. Set them: net.setInput\(blob, 'y'\)"):
        net.forward()
    net.setInput(np.full((1, 2), 2.0), "y")
    np.testing.assert_array_equal(net.forward(), [[3, 3]])
    assert net.getFLOPS([(1, 2), (1, 2)]) == 4


def test_learned_arrays_are_read_and_set(net):
    assert [blob.shape for blob in net.getLayer("conv1").blobs] == [(4, 3, 3, 3), (4, 1)]
    assert [blob.shape for blob in net.getLayer("ip").blobs] == [(5, 144), (1, 5)]
    before = net.forward("conv1")
    net.setParam("conv1", 0, 2 * net.getParam("conv1", 0))
    net.setParam(1, 1, 2 * net.getParam(1, 1))
    np.testing.assert_allclose(net.forward("conv1"), 2 * before, rtol=1e-5)
    net.getLayer(1).blobs = ARRAYS["first"]
    np.testing.assert_array_equal(net.forward("conv1"), before)
    with pytest.raises(NetError, match=r"arrays of \[3\] values are set for learned arrays of the shapes"):
        net.getLayer(1).blobs = [np.zeros(3, "f")]
    np.testing.assert_array_equal(net.forward("conv1"), before)


def test_a_convolution_with_weights_alone_has_a_bias_of_zeros():
    """OpenCV's sample of colourisation sets one array, where the prototxt has a bias."""
    net = dnn.readNetFromCaffe(
        b'input: "x" layer { name: "y" type: "Convolution" bottom: "x" top: "y" '
        b"convolution_param { num_output: 2 kernel_size: 1 } } "
        b'layer { name: "z" type: "Scale" bottom: "y" top: "z" scale_param { bias_term: false } }'
    )
    weights = np.float32([[1, 2, 3], [4, 5, 6]]).reshape(2, 3, 1, 1)
    net.getLayer(net.getLayerId("y")).blobs = [weights]
    net.getLayer(net.getLayerId("z")).blobs = [np.full([1, 2], 2.5, np.float32)]
    net.setInput(IMAGE)
    np.testing.assert_allclose(net.forward(), 2.5 * np.einsum("oi,nihw->nohw", weights[:, :, 0, 0], IMAGE), atol=1e-5)
    net = dnn.readNetFromCaffe(NET, caffemodel(ARRAYS | {"first": [ARRAYS["first"][0]]}))
    net.setInput(IMAGE)
    with_bias = dnn.readNetFromCaffe(NET, caffemodel(ARRAYS))
    with_bias.setInput(IMAGE)
    shift = ARRAYS["first"][1].reshape(4, 1, 1)
    np.testing.assert_allclose(net.forward("conv1") + shift, with_bias.forward("conv1"), atol=1e-5)


def test_weights_that_are_nowhere_are_not_made_up():
    net = dnn.readNetFromCaffe(NET, caffemodel({"first": ARRAYS["first"]}))
    net.setInput(IMAGE)
    with pytest.raises(WeightsError, match=r'layer "ip" .*it has no weights: <buffer of the weights> holds none'):
        net.forward()
    net.getLayer("ip").blobs = ARRAYS["ip"]
    assert net.forward("prob").shape == (1, 5)


def test_costs_are_opencvs(net):
    assert net.getFLOPS((1, 3, 8, 8)) == 7920 + 144 + 2160 + 20 + 15
    assert net.getFLOPS(1, (1, 3, 8, 8)) == 7920
    assert net.getMemoryConsumption(1, (1, 3, 8, 8)) == (448, 576)
    numbers, bottoms, tops = net.getLayersShapes([(2, 3, 8, 8)])
    assert numbers.tolist() == list(range(10))
    assert [shape.tolist() for shape in (*bottoms[1], *tops[4])] == [[2, 3, 8, 8], [2, 1, 6, 6], [2, 3, 6, 6]]
    net.forward()
    total, times = net.getPerfProfile()
    assert len(times) == 9 and times[0] > 0 and total == times.sum()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward("data"), "the net has no layer 'data'"),
        (lambda net: net.forward(["conv1", "rellu1"]), "Did you mean 'relu1'"),
        (lambda net: net.forward("loss"), "it is not there in TEST"),
        (lambda net: net.forwardAndRetrieve([]), "no names are given"),
        (lambda net: net.setInput(IMAGE, "image"), "the net has no input 'image'. Its inputs: data"),
        (lambda net: net.setInput(IMAGE[:0]), "is empty"),
        (lambda net: net.setInput("data"), "Give an array of numbers"),
        (lambda net: net.setInput(np.ones((1, 5, 2, 2)), mean=(1, 2)), "four channels at most"),
        (lambda net: net.getLayer(99), "numbers go from 0 to 9"),
        (lambda net: net.getParam("relu1"), "there is no learned array 0, there are 0"),
        (lambda net: net.getFLOPS([(1, 2), (3, 4)]), "2 shapes are given for 1 inputs"),
        (lambda net: net.connect("conv1", "ip"), "Change the prototxt"),
        (lambda net: dnn.Net().forward(), "the net has no layers"),
    ],
)
def test_what_is_refused(net, call, message):
    with pytest.raises(CaffeError) as caught:
        call(net)
    assert message.lower() in str(caught.value).lower()


def test_errors_are_opencvs_too_where_it_is_imported(net):
    cv2 = pytest.importorskip("cv2")
    with pytest.raises(cv2.error) as caught:
        net.forward("nothing")
    assert isinstance(caught.value, UnknownName)
    assert caught.value.err == str(caught.value)
    with pytest.raises(cv2.error) as caught:
        dnn.readNetFromCaffe(b"layer {")
    assert isinstance(caught.value, PrototxtError)


def test_files_and_buffers(tmp_path):
    prototxt, model = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_bytes(NET)
    model.write_bytes(weights := caffemodel(ARRAYS))
    nets = [
        dnn.readNetFromCaffe(str(prototxt), str(model)),
        dnn.readNetFromCaffe(bytearray(NET), np.frombuffer(weights, np.uint8)),
        dnn.readNetFromCaffe(bufferProto=NET, bufferModel=weights),
        dnn.readNet(str(model), str(prototxt)),
        dnn.readNet(prototxt, model, None),
        dnn.readNet("caffe", weights, NET),
    ]
    for net in nets:
        net.setInput(IMAGE)
    first, *others = (net.forward() for net in nets)
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert dnn.readNet(str(prototxt), None).getLayerNames() == NAMES
    with pytest.raises(CaffeError, match="these are no files of Caffe"):
        dnn.readNet("net.onnx")


def test_statistics_of_the_batch_are_two_layers():
    net = dnn.readNetFromCaffe(
        b'input: "x" layer { name: "n" type: "BatchNorm" bottom: "x" top: "y" '
        b"batch_norm_param { use_global_stats: false eps: 0.001 } }",
        caffemodel({"n": [np.ones(3, "f"), np.ones(3, "f"), np.ones(1, "f")]}),
    )
    assert net.getLayerNames() == ("n/mvn", "n")
    net.setInput(IMAGE)
    mean, variance = (f(IMAGE, (2, 3), keepdims=True) for f in (np.mean, np.var))
    normalised = (IMAGE - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(net.forward("n/mvn"), normalised, atol=1e-5)
    np.testing.assert_allclose(net.forward(), normalised / np.sqrt(1.001), atol=1e-5)


def test_dump_is_a_graph(net, tmp_path):
    net.forward()
    text = net.dump()
    assert '"conv1" [label="conv1\\nConvolution\\noutput: 1 x 4 x 6 x 6\\l"' in text
    assert '"_input" -> "conv1"' in text
    net.dumpToFile(tmp_path / "net.dot")
    assert (tmp_path / "net.dot").read_text() == text
