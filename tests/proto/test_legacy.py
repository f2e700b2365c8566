"""Nets of the V0 and V1 formats mean the same as in the Caffe of their time."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import PrototxtError
from caffe_lite.proto.caffe_pb2 import LayerParameter, NetParameter, ParamSpec, V1LayerParameter
from caffe_lite.proto.parsed import Parsed
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net
from caffe_lite.proto.upgrade import is_old_net, upgrade_net

# One small net in each of the three formats.
V0 = """name: "small"
input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers {
  layer {
    name: "conv1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 1 biasterm: true
    weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.2 }
    blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0.
  }
  bottom: "pad1" top: "conv1"
}
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 } bottom: "pool1" top: "norm1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 weight_filler { type: "xavier" } }
  bottom: "norm1" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
"""
V1 = """name: "small"
input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 1 pad: 2 bias_term: true
    weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.2 } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layers { name: "norm1" type: LRN bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "norm1" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""
TODAY = """name: "small"
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 1 pad: 2 bias_term: true
    weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.2 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "norm1" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def upgraded(text: str) -> Parsed[NetParameter]:
    parsed = parse_text(text, NetParameter, "net.prototxt")
    upgrade_net(parsed)
    return parsed


@pytest.mark.parametrize("text", [V0, V1, TODAY], ids=["V0", "V1", "today"])
def test_the_three_formats_mean_the_same(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    parsed = read_net(path)
    assert parsed.message == parse_text(TODAY, NetParameter).message
    assert not is_old_net(parsed.message)
    data = np.random.default_rng(0).normal(size=(2, 3, 9, 9))
    net = Net(path, TEST, seed=3)
    assert np.array_equal(net.forward(data=data)["prob"], Net(upgraded(TODAY), TEST, seed=3).forward(data=data)["prob"])
    for made in (net, Net(parse_text(text, NetParameter).message, TEST)):
        assert made.blobs["conv1"].shape == (2, 4, 6, 6)


@pytest.mark.parametrize("text", [V0, V1], ids=["V0", "V1"])
def test_layers_keep_their_places(text: str) -> None:
    parsed = upgraded(text)
    lines = text.splitlines()
    for layer, where in list(zip(parsed.message.layer, parsed.layers, strict=True))[1:]:
        assert f'"{layer.name}"' in "".join(lines[where.line - 1 : where.line + 2])
    if text == V1:
        assert parsed.where("layer", 1, "convolution_param", "pad", 0).line == 5


def test_a_net_inside_a_solver_keeps_its_places_too(tmp_path: Path) -> None:
    from caffe_lite.proto.prototxt import read_solver

    path = tmp_path / "solver.prototxt"
    path.write_text(f"base_lr: 1\nnet_param {{\n{V0}}}\ntest_net_param {{\n{V1}}}\n")
    parsed = read_solver(path)
    today = parse_text(TODAY, NetParameter).message
    assert parsed.message.net_param == parsed.message.test_net_param[0] == today
    assert parsed.sub("net_param").layers[1].line == 6


def test_every_type_of_v1_has_its_name_of_today() -> None:
    """Types that exist here are checked against the registry, the few others by name."""
    from caffe_lite.layer import layer_type_list

    names = [name for name in V1LayerParameter.LayerType.keys() if name != "NONE"]  # noqa: SIM118
    net = upgraded("".join(f'layers {{ name: "{name}" type: {name} }}\n' for name in names)).message
    today = {layer.name: layer.type for layer in net.layer}
    assert today["SOFTMAX_LOSS"] == "SoftmaxWithLoss"
    assert today["SIGMOID_CROSS_ENTROPY_LOSS"] == "SigmoidCrossEntropyLoss"
    assert today["HDF5_DATA"] == "HDF5Data"
    assert today["IM2COL"] == "Im2col"
    assert today["CONTRASTIVE_LOSS"] == "ContrastiveLoss"
    lower = {name.lower(): name for name in layer_type_list()}
    for old, new in today.items():
        assert new.lower() == old.replace("_", "").lower() or old == "SOFTMAX_LOSS"
        assert lower.get(new.lower(), new) == new


def test_params_of_v1_become_one_entry_for_each_blob() -> None:
    (layer,) = upgraded(
        'layers { name: "a" type: INNER_PRODUCT blobs_lr: 0.5 blobs_lr: 2 weight_decay: 3 param: "w" param: "b" '
        "blob_share_mode: PERMISSIVE loss_weight: 4 include { phase: TEST } exclude { stage: 'x' } }"
    ).message.layer
    assert [(p.name, p.lr_mult, p.decay_mult, p.share_mode) for p in layer.param] == [
        ("w", 0.5, 3, ParamSpec.PERMISSIVE),
        ("b", 2, 1, ParamSpec.STRICT),
    ]
    assert not layer.param[1].HasField("decay_mult") and not layer.param[1].HasField("share_mode")
    assert (list(layer.loss_weight), layer.include[0].phase, list(layer.exclude[0].stage)) == ([4], TEST, ["x"])


@pytest.mark.parametrize(
    ("kind", "param"),
    [("DATA", "data_param"), ("IMAGE_DATA", "image_data_param"), ("WINDOW_DATA", "window_data_param")],
)
def test_transformations_of_v1_move(kind: str, param: str) -> None:
    fields = 'scale: 0.5 mean_file: "m" crop_size: 7 mirror: true'
    (layer,) = upgraded(f'layers {{ type: {kind} {param} {{ source: "s" batch_size: 2 {fields} }} }}').message.layer
    assert layer.transform_param == parse_text(fields, type(layer.transform_param)).message
    assert {field.name for field, _ in getattr(layer, param).ListFields()} == {"source", "batch_size"}


@pytest.mark.parametrize(
    ("kind", "fields", "today"),
    [
        (
            "data",
            'source: "s" meanfile: "m" batchsize: 5 cropsize: 3 mirror: true scale: 2 rand_skip: 4',
            (
                'type: "Data" data_param { source: "s" batch_size: 5 rand_skip: 4 }'
                'transform_param { mean_file: "m" crop_size: 3 mirror: true scale: 2 }'
            ),
        ),
        (
            "images",
            'source: "s" batchsize: 5 rand_skip: 4 shuffle_images: true new_height: 3 new_width: 2 new_num: 1',
            (
                'type: "ImageData" image_data_param { source: "s" batch_size: 5 rand_skip: 4 shuffle: true '
                "new_height: 3 new_width: 2 }"
            ),
        ),
        (
            "window_data",
            "det_fg_threshold: 1 det_bg_threshold: 2 det_fg_fraction: 3 det_context_pad: 4 det_crop_mode: 'square'",
            (
                'type: "WindowData" window_data_param { fg_threshold: 1 bg_threshold: 2 fg_fraction: 3 context_pad: 4 '
                'crop_mode: "square" }'
            ),
        ),
        (
            "hdf5_data",
            'source: "s" batchsize: 5',
            'type: "HDF5Data" hdf5_data_param { source: "s" batch_size: 5 }',
        ),
        (
            "hdf5_output",
            'hdf5_output_param { file_name: "f" }',
            'type: "HDF5Output" hdf5_output_param { file_name: "f" }',
        ),
        ("infogain_loss", 'source: "s"', 'type: "InfogainLoss" infogain_loss_param { source: "s" }'),
        ("dropout", "dropout_ratio: 0.7", 'type: "Dropout" dropout_param { dropout_ratio: 0.7 }'),
        ("concat", "concat_dim: 2", 'type: "Concat" concat_param { concat_dim: 2 }'),
        ("lrn", "k: 2", 'type: "LRN" lrn_param { k: 2 }'),
        ("pool", "pad: 1 pool: STOCHASTIC", 'type: "Pooling" pooling_param { pad: 1 pool: STOCHASTIC }'),
        ("softmax_loss", "", 'type: "SoftmaxWithLoss"'),
        ("euclidean_loss", "", 'type: "EuclideanLoss"'),
    ],
)
def test_fields_of_v0(kind: str, fields: str, today: str) -> None:
    (layer,) = upgraded(f'layers {{ layer {{ name: "l" type: "{kind}" {fields} }} top: "x" }}').message.layer
    assert layer == parse_text(f'name: "l" top: "x" {today}', LayerParameter).message


def test_a_field_of_v0_that_means_nothing_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    parsed = parse_text('layers { layer { name: "r" type: "relu" num_output: 3 } }', NetParameter, "net.prototxt")
    assert upgrade_net(parsed) is False
    assert [field.name for field, _ in parsed.message.layer[0].ListFields()] == ["name", "type"]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors[0] == "Unknown parameter num_output for layer type relu"
    assert errors[1].startswith("Warning: had one or more problems upgrading V0NetParameter to NetParameter")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            (
                'layers { layer { name: "a" type: "padding" pad: 1 } bottom: "x" top: "a" }\n'
                'layers { layer { name: "b" type: "relu" } bottom: "a" top: "b" }'
            ),
            r'net\.prototxt:3:1, layer "b" \(relu\): a padding layer leads to a layer of type .relu.',
        ),
        (
            (
                'layers { layer { name: "a" type: "padding" pad: 1 } bottom: "x" top: "a" }\n'
                'layers { layer { name: "b" type: "conv" } bottom: "a" bottom: "x" top: "b" }'
            ),
            r'net\.prototxt:3:1, layer "b" \(conv\): .* several blobs',
        ),
        ('layers { layer { name: "b" type: "conv" } bottom: "y" }', r'layer "b" \(conv\): unknown bottom blob .y.'),
        ('layers { layer { name: "b" type: "convolve" } }', r"unknown layer type .convolve. of the V0 format.* conv, "),
        (
            'layers { layer { name: "a" type: "relu" } }\nlayers { name: "b" type: RELU }',
            r'net\.prototxt:3:1, layer "b": this layer is in the V1 format',
        ),
        (
            'layers { name: "b" type: RELU }\nlayer { name: "c" type: "ReLU" }',
            r'net\.prototxt:2:1, layer "b": the net has both `layer`',
        ),
    ],
)
def test_what_the_original_aborts_on_is_told(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        upgraded('input: "x" input_dim: [1, 1, 1, 1]\n' + text)


def test_the_log_tells_as_the_original_does(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "net.prototxt"
    path.write_text(V0 + 'layers { layer { name: "x" type: "data" cropsize: 3 } top: "x" }')
    read_net(path)
    assert [message.removesuffix(str(path)) for message in caplog.messages] == [
        "Attempting to upgrade input file specified using deprecated V0LayerParameter: ",
        "Successfully upgraded file specified using deprecated V0LayerParameter",
        (
            "Note that future Caffe releases will not support V0NetParameter; use caffe-lite upgrade-net "
            "to upgrade this and any other net protos to the new format."
        ),
        "Attempting to upgrade input file specified using deprecated V1LayerParameter: ",
        "Successfully upgraded file specified using deprecated V1LayerParameter",
        "Attempting to upgrade input file specified using deprecated input fields: ",
        "Successfully upgraded file specified using deprecated input fields.",
        "Note that future Caffe releases will only support input layers and not input fields.",
    ]
    caplog.clear()
    path.write_text('layers { type: DATA data_param { scale: 2 } } layers { type: NONE name: "n" }')
    read_net(path)
    assert caplog.messages[0].startswith(
        "Attempting to upgrade input file specified using deprecated transformation parameters: "
    )


def test_a_layer_without_a_type_is_refused_when_it_is_made() -> None:
    from caffe_lite.errors import NetError

    with pytest.raises(NetError, match=r'net\.prototxt:1:1, layer "n": it has no type'):
        Net(upgraded('layers { name: "n" }'), TRAIN)
