"""The parts of nets that SSD's Caffe has in `caffe.model_libs`."""

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite import model_libs
from caffe_lite.errors import ArgumentError
from caffe_lite.model_libs import *  # noqa: F403 - as scripts have it
from caffe_lite.model_libs import CreateMultiBoxHead, L, P, VGGNetBody, os


def spec(side=32, batch=1):
    net = caffe.NetSpec()
    net.data = L.Input(shape={"dim": [batch, 3, side, side]})
    return net


def made(net, phase=caffe.TEST):
    return caffe.Net(net.to_proto(), phase, seed=1)


def shapes(net):
    return {name: blob.shape[1:] for name, blob in made(net).blobs.items()}


def test_values_for_both_axes():
    assert model_libs.UnpackVariable(3, 2) == model_libs.UnpackVariable([3], 2) == [3, 3]
    assert model_libs.UnpackVariable([1, 7], 2) == [1, 7]
    with pytest.raises(ArgumentError, match="3 values are given where 1 or 2 are wanted"):
        model_libs.UnpackVariable([1, 2, 3], 2)


def test_folders(tmp_path):
    path = str(tmp_path / "a" / "b")
    assert not model_libs.check_if_exist(path)
    model_libs.make_if_not_exist(path)
    model_libs.make_if_not_exist(path)
    assert model_libs.check_if_exist(path) and os.path.isdir(path)


def test_a_convolution_with_what_follows():
    net = spec()
    model_libs.ConvBNLayer(net, "data", "a", True, True, 4, 3, 1, 2, dilation=2, lr_mult=3)
    model_libs.ConvBNLayer(net, "a", "b", False, False, 5, [1, 7], [0, 3], [1, 1], conv_prefix="x_", lr_mult=0.5)
    model_libs.ConvBNLayer(net, "x_b", "c", True, False, 2, 1, 0, 1, use_scale=False, use_global_stats=True, eps=0.5)
    assert net.keys() == ["data", "a", "a_bn", "a_scale", "a_relu", "x_b", "c", "c_bn", "c_bias"]
    _, conv, norm, scale, relu, wide, _, fixed, bias = net.to_proto().layer
    assert [spec.lr_mult for spec in conv.param] == [3] and not conv.convolution_param.bias_term
    assert (list(conv.convolution_param.kernel_size), list(conv.convolution_param.dilation)) == ([3], [2])
    assert [spec.lr_mult for spec in norm.param] == [0, 0, 0] and norm.batch_norm_param.eps == pytest.approx(0.001)
    assert norm.batch_norm_param.moving_average_fraction == pytest.approx(0.999)
    assert [spec.lr_mult for spec in scale.param] == [3, 3] and list(relu.top) == ["a"]
    p = wide.convolution_param
    assert (p.kernel_h, p.kernel_w, p.pad_h, p.pad_w, p.stride_h, p.stride_w) == (1, 7, 0, 3, 1, 1)
    assert [spec.lr_mult for spec in wide.param] == [0.5, 1] and [spec.decay_mult for spec in wide.param] == [1, 0]
    assert fixed.batch_norm_param.use_global_stats and [spec.lr_mult for spec in bias.param] == [0]
    assert shapes(net)["c"] == (2, 15, 15)


@pytest.mark.parametrize(
    ("options", "last", "expected"),
    [
        ({"need_fc": False}, "relu5_3", {"pool4": (512, 2, 2), "conv5_3": (512, 2, 2)}),
        ({"need_fc": False, "nopool": True}, "relu5_3", {"conv1_3": (64, 16, 16), "conv4_4": (512, 2, 2)}),
        ({"need_fc": False, "dilate_pool4": True}, "relu5_3", {"pool4": (512, 4, 4), "conv5_3": (512, 4, 4)}),
        (
            {"fully_conv": True, "reduced": True, "dilated": True},
            "drop7",
            {"pool5": (512, 2, 2), "fc6": (1024, 2, 2), "fc7": (1024, 2, 2)},
        ),
        ({"fully_conv": True, "reduced": True, "dropout": False}, "relu7", {"pool5": (512, 1, 1), "fc7": (1024, 1, 1)}),
    ],
)
def test_vgg(options, last, expected):
    net = VGGNetBody(spec(), "data", freeze_layers=["conv1_1", "none"], **options)
    assert net.keys()[-1] == last
    found = shapes(net)
    assert {name: found[name] for name in expected} == expected
    layers = {layer.name: layer for layer in net.to_proto().layer}
    assert [spec.lr_mult for spec in layers["conv1_1"].param] == [0, 0]
    assert [spec.lr_mult for spec in layers["conv1_2"].param] == [1, 2]
    if options.get("dilated"):
        p = layers["fc6"].convolution_param
        assert (list(p.pad), list(p.dilation), list(p.kernel_size)) == ([6], [6], [3])


def test_vgg_with_inner_products():
    net = VGGNetBody(spec(), "data")
    assert [net[name].fn.params["num_output"] for name in ("fc6", "fc7")] == [4096, 4096]
    assert net.keys()[-6:] == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7"]


def test_zf():
    net = model_libs.ZFNetBody(spec(64), "data", fully_conv=True, reduced=True, dilated=True, need_fc8=True)
    found = shapes(net)
    assert (found["norm1"], found["pool2"], found["pool5"]) == ((96, 32, 32), (256, 5, 5), (256, 5, 5))
    assert (found["fc6"], found["fc8"], found["prob"]) == ((1024, 5, 5), (1000, 5, 5), (1000, 5, 5))


@pytest.mark.parametrize(("depth", "blocks"), [(101, 33), (152, 50)])
def test_residual_nets(depth, blocks):
    net = getattr(model_libs, f"ResNet{depth}Body")(spec(), "data", use_dilation_conv5=True)
    names = net.keys()
    assert sum(net[name].fn.type_name == "Eltwise" for name in names) == blocks
    assert {"bn_conv1", "scale_conv1", "res2a_branch1", "bn2a_branch1", "res3b1_branch2b", "res5c_relu"} <= set(names)
    layers = {layer.name: layer.convolution_param for layer in net.to_proto().layer}
    assert list(layers["res5b_branch2b"].dilation) == list(layers["res5b_branch2b"].pad) == [2]
    assert list(layers["res4a_branch1"].stride) == [2] and list(layers["res5a_branch1"].stride) == [1]
    assert net.pool5.fn.params["global_pooling"]


def test_inception():
    net = model_libs.InceptionV3Body(spec(299), "data", output_pred=True)
    joins = [name for name in net.keys() if name.endswith("/join")]  # noqa: SIM118
    assert joins == ["mixed/join", *(f"mixed_{i}/join" for i in range(1, 11))]
    channels = {name: sum(_channels(net, top) for top in net[name].fn.inputs) for name in joins}
    assert list(channels.values()) == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    assert net["mixed_4/tower/conv_1"].fn.params["kernel_w"] == 7
    assert net["mixed_10/tower_2/pool"].fn.params["pool"] == P.Pooling.MAX
    assert len(net.to_proto().layer) > 300


def _channels(net, top):
    if top.fn.type_name in ("Concat", "Pooling"):
        return sum(_channels(net, bottom) for bottom in top.fn.inputs)
    return top.fn.params["num_output"]


def test_the_head_of_a_detector():
    net = VGGNetBody(spec(), "data", need_fc=False)
    heads = CreateMultiBoxHead(
        net,
        num_classes=21,
        from_layers=["relu4_3", "relu5_3"],
        normalizations=[20, -1],
        use_batchnorm=False,
        min_sizes=[30, [60, 70]],
        max_sizes=[[], [114, 120]],
        aspect_ratios=[[2], [2, 3]],
        steps=[8, 16],
        prior_variance=[0.1, 0.1, 0.2, 0.2],
        kernel_size=3,
        pad=1,
    )
    assert [name for name in net.keys() if net[name] in heads] == ["mbox_loc", "mbox_conf", "mbox_priorbox"]  # noqa: SIM118
    outputs = [net[f"{name}_mbox_{kind}"].fn.params["num_output"] for name in ("relu4_3_norm", "relu5_3")
               for kind in ("loc", "conf")]  # fmt: skip
    # 1 + 2 priors at each pixel of the first, 2 (2 + 4) of the second.
    assert outputs == [4 * 3, 21 * 3, 4 * 12, 21 * 12]
    box = net["relu5_3_mbox_priorbox"].fn
    assert box.params["min_size"] == [60, 70] and box.params["max_size"] == [114, 120] and box.params["step"] == 16
    assert box.inputs == (net.relu5_3, net.data) and net.mbox_priorbox.fn.params == {"axis": 2}
    norm = next(layer for layer in net.to_proto().layer if layer.type == "Normalize")
    assert norm.norm_param.scale_filler.value == 20 and not norm.norm_param.channel_shared
    sizes = shapes(net)
    priors = 4 * 4 * 3 + 2 * 2 * 12  # for images of 32 x 32
    assert sizes["mbox_loc"] == (4 * priors,) and sizes["mbox_conf"] == (21 * priors,)
    assert sizes["mbox_priorbox"] == (2, 4 * priors)
    for wrong, what in (
        ({"num_classes": 0}, "num_classes is 0"),
        ({"min_sizes": [1]}, "min_sizes should have the same"),
    ):
        options = {"num_classes": 2, "from_layers": ["relu4_3", "relu5_3"], "min_sizes": [1, 2]} | wrong
        with pytest.raises(ArgumentError, match=what):
            CreateMultiBoxHead(net, **options)


def test_annotated_data():
    data, label = model_libs.CreateAnnotatedDataLayer(
        "lmdb", 4, train=False, anno_type=1, transform_param={"mirror": 1}
    )
    assert data.fn is label.fn and data.fn.type_name == "AnnotatedData"
    assert data.fn.params["data_param"] == {"batch_size": 4, "backend": P.Data.LMDB, "source": "lmdb"}
    assert data.fn.params["include"] == {"phase": caffe.TEST}
    assert model_libs.CreateAnnotatedDataLayer("lmdb", output_label=False).fn.ntop == 1


def test_a_part_learns():
    net = spec(side=8, batch=4)
    model_libs.ResBody(net, "data", "1a", 2, 2, 8, 1, True)
    net.score = L.InnerProduct(net.res1a, num_output=2, weight_filler={"type": "xavier"})
    net.label = L.Input(shape={"dim": [4]})
    net.loss = L.SoftmaxWithLoss(net.score, net.label)
    net = made(net, caffe.TRAIN)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=(4, 3, 8, 8))
    net.forward()
    net.backward()
    assert net.params["res1a_branch2b"][0].diff.any() and not net.params["bn1a_branch1"][0].diff.any()
