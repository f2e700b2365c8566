import logging

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, ranks
from caffe_lite import layer as registry
from caffe_lite.errors import LayerError, NetError, Where
from caffe_lite.layer import Layer, create_layer, layer_class, layer_type_list, register_layer
from caffe_lite.ops import get_ops
from caffe_lite.proto import caffe_pb2

WHERE = Where("net.prototxt", 3, 1)


def create(type_name, where=WHERE):
    param = caffe_pb2.LayerParameter(name="mine", type=type_name)
    return create_layer(param, get_ops(), caffe_pb2.TEST, np.random.default_rng(), where)


@pytest.fixture
def free_registry(monkeypatch):
    """Remove the layers of a test when it ends."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))


def test_a_layer_knows_where_it_stands():
    layer = create("ReLU")
    assert (layer.name, layer.type, layer.phase, layer.where) == ("mine", "ReLU", caffe_pb2.TEST, WHERE)
    assert layer.blobs == [] and layer.state() is None


def test_the_list_of_types_has_the_originals():
    names = """
        AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss Convolution Crop
        Data Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data
        HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM LSTMUnit Log MVN
        MemoryData MultinomialLogisticLoss PReLU Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP
        Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold
        Tile WindowData
    """
    types = layer_type_list()
    assert set(names.split()) <= set(types)
    assert types == sorted(types)
    assert [layer_class(name).type for name in types] == types


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("Relu", "ReLU"),
        ("RELU", "ReLU"),
        ("Convolutional", "Convolution"),
        ("InnerProdct", "InnerProduct"),
        ("SoftmaxLoss", "SoftmaxWithLoss"),
    ],
)
def test_an_unknown_type_is_told_the_nearest(wrong, hint):
    with pytest.raises(NetError) as error:
        create(wrong)
    text = str(error.value)
    assert text.startswith(f'net.prototxt:3:1, layer "mine" ({wrong}): unknown layer type {wrong!r}. Did you mean ')
    assert hint in text.removesuffix("?").split("Did you mean ")[1].split(" or ")


def test_a_type_like_no_other_is_told_all():
    with pytest.raises(NetError) as error:
        create("Zzzzzzzz")
    assert f"Known types: {', '.join(layer_type_list())}." in str(error.value)


@pytest.mark.usefixtures("free_registry")
def test_registering():
    @register_layer("Mine")
    class MineLayer(Layer):
        pass

    assert MineLayer.type == "Mine" and isinstance(create("Mine"), MineLayer)
    assert layer_class("Mine") is MineLayer and layer_class("Nobody's") is None
    register_layer("Mine")(MineLayer)
    with pytest.raises(ValueError, match=r"layer type 'Mine' is taken by .*MineLayer"):
        register_layer("Mine")(Layer)


def test_errors_name_the_layer_and_its_place():
    with pytest.raises(LayerError) as error:
        create("ReLU").error("it is wrong", "make it right")
    assert str(error.value) == 'net.prototxt:3:1, layer "mine" (ReLU): it is wrong. Make it right.'


@pytest.mark.parametrize(("axis", "counted"), [(0, 0), (2, 2), (-1, 2), (-3, 0)])
def test_axes_count_from_either_end(axis, counted):
    assert create("ReLU").axis(axis, 3) == counted


@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_out_of_range(axis):
    with pytest.raises(LayerError, match=f"end_axis {axis} is out of range for a bottom with 3 axes. Use -3 to 2"):
        create("ReLU").axis(axis, 3, "end_axis")


@pytest.mark.parametrize(
    ("not_differentiable", "reached"),
    [((), [0, 1, 2]), ((1,), [0, 2]), ((-1,), [0, 1]), ((0, -1), [1]), ((3,), [0, 1, 2])],
)
def test_bottoms_that_a_gradient_reaches(monkeypatch, not_differentiable, reached):
    layer = create("ReLU")
    monkeypatch.setattr(type(layer), "not_differentiable", not_differentiable)
    assert [i for i in range(3) if layer.gradient_reaches(i, 3)] == reached


# -- passes dealt out to several processes -----------------------------------------------------------------------------


@pytest.fixture
def second_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be one of several that have a part of the batches each."""
    monkeypatch.setattr(ranks, "_tested", ranks.WHOLE)
    ranks.deal_batches(1, 3)


X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
SUM = """
class Sum:
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = sum(blob.data.sum() for blob in bottom)
"""
PYTHON = 'layer { name: "sum" type: "Python" top: "sum" %s python_param { module: "summing" layer: "Sum" } }'


def test_what_is_common_to_all_batches_is_refused_if_they_are_dealt(make_net, tmp_path, second_of_three) -> None:
    (tmp_path / "summing.py").write_text(SUM)
    output = f"""layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "x"
                  hdf5_output_param {{ file_name: "{(tmp_path / "out.h5").as_posix()}" }} }}"""
    for text, what in ((X + output, "it writes all batches into one file"), (PYTHON % "", "its batches cannot be")):
        with pytest.raises(LayerError, match=f"{what}.* and 3 workers have a part .* Run this net without --workers"):
            make_net(text, TEST)
        make_net(text, TRAIN)  # whose records are dealt out, but not its batches


def test_layers_of_users_see_a_part_of_the_batches(make_net, tmp_path, second_of_three, caplog) -> None:
    (tmp_path / "summing.py").write_text(SUM)
    logger = logging.getLogger("caffe_lite")
    logger.addHandler(caplog.handler)
    try:
        make_net(X + PYTHON % 'bottom: "x"', TEST)
    finally:
        logger.removeHandler(caplog.handler)
    warning = "each of 3 workers has a summing.Sum of its own, which sees only a part of the batches"
    assert f"sum: {warning}" in caplog.messages


@pytest.mark.parametrize("type", ["LSTM", "RNN", "Lstm"])
def test_sequences_go_on_from_the_last_pass_if_their_first_step_says_so(make_net, type: str) -> None:
    param = "lstm_param { num_output: 2 batch_size: 2 }" if type == "Lstm" else "recurrent_param { num_output: 2 }"
    net = make_net(
        f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: [3, 2, 4] }} }} }}
            layer {{ name: "cont" type: "Input" top: "cont" input_param {{ shape {{ dim: [3, 2] }} }} }}
            layer {{ name: "r" type: "{type}" bottom: "x" bottom: "cont" top: "y" {param} }}""".replace(
            "dim: [3, 2, 4]", "dim: [6, 4]" if type == "Lstm" else "dim: [3, 2, 4]"
        ),
        TEST,
    )
    node = net.nodes[-1]
    for first_step, goes_on in (((0, 0), False), ((0, 1), True), ((1, 0), True)):
        net.blobs["cont"].data[...] = 1
        net.blobs["cont"].data[0] = first_step
        net.forward()
        assert node.layer.goes_on(node.bottom) == goes_on
