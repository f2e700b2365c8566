import numpy as np
import pytest

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
