# ruff: noqa: C408 - scripts for Caffe write dict(...)
from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite import NetSpec, to_proto
from caffe_lite import layers as L
from caffe_lite import params as P
from caffe_lite.errors import NetError
from caffe_lite.net_spec import Layers, assign_proto, param_name_dict
from caffe_lite.proto import caffe_pb2


def lenet(batch_size: int) -> NetSpec:
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size, 1, 1, 1])],
        transform_param=dict(scale=1 / 255),
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=50, weight_filler=dict(type="xavier"), param=[dict(lr_mult=1), dict()])
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


def test_a_net_with_names():
    net = lenet(3).to_proto()
    assert [layer.name for layer in net.layer] == ["data", "conv1", "pool1", "ip1", "relu1", "ip2", "loss"]
    data, conv, pool, ip, relu, ip2, loss = net.layer
    assert list(data.top) == ["data", "label"] and data.transform_param.scale == pytest.approx(1 / 255)
    assert (list(conv.convolution_param.kernel_size), conv.convolution_param.num_output) == ([5], 20)
    assert (pool.pooling_param.pool, pool.pooling_param.kernel_size) == (caffe_pb2.PoolingParameter.MAX, 2)
    assert [spec.lr_mult for spec in ip.param] == [1, 1]
    assert list(relu.bottom) == list(relu.top) == list(ip2.bottom) == ["ip1"]
    assert list(loss.bottom) == ["ip2", "label"]


def test_it_runs():
    net = caffe.Net(lenet(3).to_proto(), caffe.TRAIN, seed=1)
    assert net.forward()["loss"] > 0
    net.backward()
    assert net.params["conv1"][0].diff.shape == (20, 1, 5, 5)


def test_a_net_without_names():
    data = L.DummyData(shape=dict(dim=[1, 2]))
    first = L.InnerProduct(data, num_output=3)
    net = to_proto(L.InnerProduct(first, num_output=4), L.ReLU(first, in_place=True))
    assert [layer.name for layer in net.layer] == ["DummyData1", "InnerProduct1", "InnerProduct2", "ReLU1"]
    assert list(net.layer[2].bottom) == ["InnerProduct1"]
    assert [layer.name for layer in first.to_proto().layer] == ["DummyData1", "InnerProduct1"]


def test_layers_without_tops():
    n = NetSpec()
    n.data = L.DummyData(shape=dict(dim=[1, 2]))
    n.quiet = L.Silence(n.data, ntop=0)
    net = n.to_proto()
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in net.layer] == [
        ("data", [], ["data"]),
        ("quiet", ["data"], []),
    ]
    silence = L.Silence(L.DummyData(ntop=0, shape=dict(dim=1)).tops or L.DummyData(shape=dict(dim=1)), ntop=0)
    assert [layer.name for layer in to_proto(silence).layer] == ["DummyData1", "Silence1"]


def test_layers_below_what_is_named_are_there_once():
    n = NetSpec()
    hidden = L.DummyData(shape=dict(dim=[1, 2]))
    n.a = L.ReLU(hidden)
    n.b = L.Sigmoid(hidden)
    assert [layer.name for layer in n.to_proto().layer] == ["DummyData1", "a", "b"]


def test_a_net_deeper_than_pythons_stack():
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(to_proto(top).layer) == 3001


def test_fields_of_the_layer():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=np.array([2, 3])), include=dict(phase=caffe.TEST, stage="deploy"))
    n["up/2x"] = L.Deconvolution(
        n.data, name="up", loss_weight=2, convolution_param=dict(num_output=np.int64(3), kernel_size=(2, 4))
    )
    net = n.to_proto()
    assert list(net.layer[0].input_param.shape[0].dim) == [2, 3]
    assert (net.layer[0].include[0].phase, list(net.layer[0].include[0].stage)) == (caffe.TEST, ["deploy"])
    up = net.layer[1]
    assert (up.name, list(up.top), list(up.loss_weight)) == ("up", ["up/2x"], [2.0])
    assert list(up.convolution_param.kernel_size) == [2, 4]


def test_values_are_enums_names_and_messages():
    layer = to_proto(L.Pooling(L.Input(), pool="AVE")).layer[1]
    assert layer.pooling_param.pool == P.Pooling.AVE
    shape = caffe_pb2.BlobShape(dim=[4])
    assert to_proto(L.Input(shape=[shape, shape])).layer[0].input_param.shape[1] == shape


def test_what_is_no_top_is_a_type_error():
    pair = L.DummyData(shape=dict(dim=[1]), ntop=2)
    with pytest.raises(TypeError, match="Silence input 0 is not a Top") as error:
        L.Silence(pair, ntop=0)
    assert str(error.value) == "Silence input 0 is not a Top (type is <class 'tuple'>)"
    assert error.value.__notes__ == ["Give the tops one by one: *data in place of data"]
    L.Silence(*pair, ntop=0)
    with pytest.raises(TypeError, match=r"^Eltwise input 1 is not a Top \(type is <class 'str'>\)"):
        L.Eltwise(pair[0], "data")
    n = NetSpec()
    n.data, n.size, n.list = pair, 3, [pair[0]]  # scripts may keep their own values there
    assert (n.data, n.size) == (pair, 3)
    with pytest.raises(TypeError, match=r"data is not a Top \(type is <class 'tuple'>\)"):
        n.to_proto()
    del n.data
    with pytest.raises(TypeError, match="size is not a Top"):
        n.to_proto()
    with pytest.raises(TypeError, match="to_proto input 0 is not a Top"):
        to_proto(pair)
    with pytest.raises(TypeError, match="ReLU has one top"):
        _, _ = L.ReLU(pair[0])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda x: L.Convolution(x, num_outputs=2), '"Convolution1" (Convolution): LayerParameter has no field'),
        (lambda x: L.Deconvolution(x, num_output=2), "belongs in convolution_param"),
        (lambda x: L.Convolution(x, num_output="two"), "num_output is 'two'. It takes an integer of 0 or more"),
        (lambda x: L.Convolution(x, num_output=-1), "num_output is -1"),
        (lambda x: L.Pooling(x, pool="MAXIMUM"), "one of MAX, AVE"),
        (lambda x: L.Convolution(x, kernel_size=[1, None]), "kernel_size is None"),
        (lambda x: L.Convolution(x, weight_filler="xavier"), "it takes a dict of the fields of FillerParameter"),
        (lambda x: L.ReLU(x, include=3), "it takes a dict of the fields of NetStateRule"),
    ],
)
def test_parameters_that_do_not_fit_name_the_layer(make, text):
    with pytest.raises(NetError) as error:
        to_proto(make(L.Input()))
    assert text.lower() in str(error.value).lower()


def test_names_that_are_not_there():
    n = lenet(1)
    for wanted in (AttributeError, KeyError, NetError):
        with pytest.raises(wanted, match=r"no 'conv2' yet\. Did you mean 'conv1'"):
            n.conv2  # noqa: B018
        with pytest.raises(wanted, match="conv2"):
            n["conv2"]
    with pytest.raises(AttributeError, match=r"did you mean P\.Pooling"):
        P.Poling  # noqa: B018
    assert not hasattr(n, "ip3") and n["ip2"] is n.ip2


def test_a_blob_can_be_taken_out_and_the_net_copied():
    n = lenet(1)
    other = copy.copy(n)
    del n["loss"]
    del n.ip2
    assert "loss" not in [layer.name for layer in n.to_proto().layer]
    with pytest.raises(AttributeError):
        del n.ip2
    assert list(other.tops) == list(n.tops)


def test_layer_modules_stay_modules():
    from caffe_lite.layers import convolution

    assert L.convolution is convolution and convolution.ConvolutionLayer.type == "Convolution"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        L.nonsense  # noqa: B018
    assert L.AnyForksLayer(L.Input()).to_proto().layer[1].type == "AnyForksLayer"


def test_names_and_parameters_can_be_read_and_changed():
    n = lenet(1)
    assert n.keys()[:3] == ["data", "label", "conv1"] and n.keys()[-1] == "loss" and n.vals()[-1] is n.loss
    n.update("conv1", {"dilation": 2, "param": [dict(lr_mult=0), dict(lr_mult=0)]})
    n.update("label", {"name": "input"})
    data, conv = n.to_proto().layer[:2]
    assert (data.name, list(conv.convolution_param.dilation), conv.convolution_param.num_output) == ("input", [2], 20)
    assert [spec.lr_mult for spec in conv.param] == [0, 0]
    with pytest.raises(KeyError, match="conv9"):
        n.update("conv9", {})


def test_the_names_of_parameters():
    names = param_name_dict()
    assert (names["InnerProduct"], names["LRN"], names["Pooling"]) == ("inner_product", "lrn", "pooling")


def test_layers_as_an_object():
    top = Layers().Convolution(Layers().Input(shape=dict(dim=[1])), num_output=2)
    assert top.fn.type_name == "Convolution" and len(top.to_proto().layer) == 2


def test_layers_are_added_to_others():
    n = lenet(1)
    layers, names, autonames = {}, {n.conv1: "first"}, Counter({"Pooling": 4})
    n.pool1._to_proto(layers, names, autonames)
    n.conv1.fn._to_proto(layers, names, autonames)
    assert [layer.name for layer in layers.values()] == ["DummyData1", "first", "Pooling5"]


def test_what_protobuf_raises_is_raised():
    for params, wanted in (
        (dict(num_outputs=2), AttributeError),
        (dict(num_output="two"), TypeError),
        (dict(num_output=-1), ValueError),
        (dict(engine="CUDNNN"), ValueError),
    ):
        with pytest.raises(wanted):
            L.Convolution(L.Input(), **params).to_proto()


def test_assign_proto_sets_what_it_is_given():
    layer = caffe_pb2.LayerParameter()
    assign_proto(layer, "bottom", "a")
    assign_proto(layer, "convolution_param", {"pad": [1, 2], "bias_term": False})
    assert list(layer.bottom) == ["a"] and list(layer.convolution_param.pad) == [1, 2]
    assert not layer.convolution_param.bias_term


def test_a_message_that_forks_have_twice_goes_where_the_original_reads_it():
    n = NetSpec()
    n.x = L.Input(shape={"dim": [1]})
    n.y = L.ReLU(n.x, negative_slope=0.5)
    assert n.to_proto().layer[1].relu_param.negative_slope == 0.5
