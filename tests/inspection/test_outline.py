"""Outlines: the shapes of real nets, and of nets with unknown sizes, never contradict those of a Net."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.blobs.unknown import Undetermined, UnknownSize
from caffe_lite.errors import CaffeError
from caffe_lite.inspection.outline import Outline, ShapeOps, shape_of
from caffe_lite.layer import Layer, create_layer, layer_type_list
from caffe_lite.net.filtering import placed_layers, state_of
from caffe_lite.net.random import new_generator
from caffe_lite.proto.caffe_pb2 import LayerParameter, NetParameter
from caffe_lite.proto.parsed import Parsed
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests/golden/layers").glob("*/*.prototxt"))
NAMES = [str(path.relative_to(ROOT / "tests/golden/layers").with_suffix("")) for path in GOLDEN]


def outline(net: Parsed[NetParameter] | str, phase: int = TEST, stages: Sequence[str] = (), **options) -> Outline:
    if isinstance(net, str):
        net = parse_text(net, NetParameter, "net.prototxt")
    return Outline(placed_layers(net), state_of(net.message, phase, 0, stages), **options)


def shapes(net: Outline) -> dict[str, tuple | None]:
    return {name: shape_of(blob) for name, blob in net.blobs.items()}


def agree(guess: Sequence | None, truth: Sequence) -> bool:
    if guess is None:
        return True
    return len(guess) == len(truth) and all(
        isinstance(a, UnknownSize) or a == b for a, b in zip(guess, truth, strict=True)
    )


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_a_net_and_its_outline_have_the_same_shapes(path: Path) -> None:
    phase = TEST if "test" in path.name else TRAIN
    net, mine = Net(path, phase, engine="numpy"), outline(read_net(path), phase)
    for made, outlined in zip(net.nodes, mine.nodes, strict=True):
        assert outlined.top_names == made.top_names
        for blob, truth in zip((*outlined.top, *outlined.layer.blobs), (*made.top, *made.layer.blobs), strict=False):
            assert agree(shape_of(blob), truth.shape), made.name
            assert shape_of(blob) is not None or made.layer.type in ("Python", "Filter"), made.name


@pytest.mark.parametrize("path", [path for path in GOLDEN if path.parent.name != "Parameter"])
def test_what_is_said_of_unknown_inputs_is_true_of_the_real_ones(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever sizes of the inputs are unknown, no layer is refused, and no shape contradicts that of the net."""
    phase = TEST if "test" in path.name else TRAIN
    truth = {node.name: [blob.shape for blob in node.top] for node in Net(path, phase, engine="numpy").nodes}
    net = read_net(path)
    inputs = [layer for layer in net.message.layer if layer.type in ("Input", "DummyData")]
    input_class = type(create_layer(LayerParameter(name="x", type="Input"), ShapeOps(), TEST, new_generator(0)))
    for layer in inputs:
        layer.type = "Input"
    axes = max(len(shape) for layer in inputs for shape in truth[layer.name])
    for hidden in [None, *range(axes), range(axes)]:

        def hide(self: Layer, bottom, top, hidden=hidden) -> None:
            for blob, shape in zip(top, truth[self.name], strict=True):
                which = (hidden,) if isinstance(hidden, int) else hidden or ()
                blob.Reshape([UnknownSize() if axis in which else n for axis, n in enumerate(shape)])
            if hidden is None:
                raise Undetermined

        monkeypatch.setattr(input_class, "outline", hide)
        for node in outline(net, phase).nodes:
            for blob, shape in zip(node.top, truth[node.name], strict=True):
                assert agree(shape_of(blob), shape), (hidden, node.name, shape_of(blob), shape)


ALEXNET = """
layer { name: "images" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 227 } data_param { source: "nowhere" batch_size: 64 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 96 kernel_size: 11 stride: 4 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param { num_output: 1000 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def test_data_that_is_not_there_leaves_little_unknown() -> None:
    net = outline(ALEXNET)
    known = {name: shape for name, shape in shapes(net).items() if name != "data"}
    assert known == {
        "label": (64,), "conv1": (64, 96, 55, 55), "pool1": (64, 96, 27, 27), "fc": (64, 1000), "loss": ()
    }  # fmt: skip
    assert str(shapes(net)["data"]) == "(64, ?, 227, 227)"
    assert str(net.nodes[1].layer.blobs[0].shape) == "(96, ?, 11, 11)"
    assert net.unread == {"loss": None}


def test_an_inner_product_knows_its_top_whatever_comes_in() -> None:
    net = outline(
        'layer { name: "x" type: "HDF5Data" top: "x" hdf5_data_param { source: "nowhere" batch_size: 8 } }'
        'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 10 } }'
    )
    assert shapes(net)["x"] is None
    assert str(shapes(net)["fc"]) == "(?, 10)"


def test_a_layer_that_fits_in_no_way_is_refused_though_its_bottoms_are_unknown() -> None:
    text = (
        'layer { name: "x" type: "HDF5Data" top: "x" hdf5_data_param { source: "nowhere" batch_size: 8 } }'
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { kernel_size: 3 } }'
    )
    with pytest.raises(CaffeError, match=r'layer "c" \(Convolution\): num_output is 0'):
        outline(text)


def test_all_problems_are_reported_and_building_goes_on() -> None:
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "y" type: "Convolushion" bottom: "x" top: "y" }
    layer { name: "z" type: "InnerProduct" bottom: "y" top: "z" }
    layer { name: "z2" type: "ReLU" bottom: "x" bottom: "x" top: "z" }
    layer { name: "w" type: "Concat" bottom: "nobody" bottom: "neither" top: "w" }
    layer { name: "p" type: "Softmax" bottom: "x" top: "p" softmax_param { axis: 3 } }
    layer { name: "fine" type: "ReLU" bottom: "w" top: "fine" }
    layer { name: "again" type: "ReLU" bottom: "x" top: "w" }
    layer { name: "shared" type: "InnerProduct" bottom: "x" top: "s" param { name: "W" } param {} param {}
      inner_product_param { num_output: 1 } }
    """
    found: list[CaffeError] = []
    net = outline(text, report=found.append)
    told = sorted((error.layer or "", error.what) for error in found)
    assert [layer for layer, _ in told] == ["again", "p", "shared", "w", "w", "y", "z", "z2"]
    assert "produced by two layers, also by 'w'" in told[0][1]
    assert "'neither'" in told[3][1] and "'nobody'" in told[4][1]
    assert all(error.where and error.where.file == "net.prototxt" for error in found)
    assert shapes(net)["fine"] is None


def test_shared_parameters_must_agree_where_they_are_known() -> None:
    layers = "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" param {{ name: "W" }}'
        f" inner_product_param {{ num_output: {n} bias_term: false }} }}"
        for name, bottom, n in (("a", "x", 4), ("b", "x", 5), ("c", "hidden", 4))
    )
    text = (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "hidden" type: "Python" top: "hidden" python_param { module: "absent" layer: "L" } }' + layers
    )
    found: list[CaffeError] = []
    outline(text, report=found.append)
    assert [(error.layer, error.what[:30]) for error in found] == [("b", "cannot share param 'W' with la")]


def test_large_nets_take_no_memory() -> None:
    """VGG-16's first fully connected layer alone has 411 MB of weights."""
    resource = pytest.importorskip("resource")
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 10 dim: 512 dim: 7 dim: 7 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
      inner_product_param { num_output: 40960 weight_filler { type: "gaussian" std: 0.005 } } }
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = outline(text)
    assert net.params[0].blob.count == 40960 * 512 * 49
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 50e6


def test_no_layer_opens_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for every file that a layer's parameters name."""
    import builtins

    real, opened = builtins.open, []
    monkeypatch.setattr(builtins, "open", lambda file, *a, **kw: (opened.append(str(file)), real(file, *a, **kw))[1])
    found: list[CaffeError] = []
    for kind in layer_type_list():
        param = LayerParameter(name="it", type=kind)
        for field in param.DESCRIPTOR.fields:
            if field.message_type and "source" in field.message_type.fields_by_name:
                getattr(param, field.name).source = "nowhere"
        param.hdf5_output_param.file_name = "nowhere/at/all"
        layer = type(create_layer(param, ShapeOps(), TEST, new_generator(0)))
        param.top.extend(f"top{i}" for i in range(layer.tops[0]))
        names = [f"bottom{i}" for i in range(layer.bottoms[0])]
        param.bottom.extend(names)
        net = NetParameter()
        if names:
            net.layer.add(name="in", type="Input", top=names).input_param.shape.add(dim=[2, 3, 4, 4])
        net.layer.append(param)
        Outline(placed_layers(Parsed(net)), state_of(net, TEST), report=found.append)
    assert not [file for file in opened if "nowhere" in file]
    assert not [error for error in found if "nowhere" in str(error)]
