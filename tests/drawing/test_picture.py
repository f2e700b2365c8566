from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.drawing.picture import DrawnLayer, Picture, picture_of
from caffe_lite.drawing.svg import svg_text
from caffe_lite.layer import Kind
from caffe_lite.proto.caffe_pb2 import LayerParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'


@pytest.fixture
def picture(tmp_path):
    def make(text: str, phase: int | None = TRAIN) -> Picture:
        (tmp_path / "net.prototxt").write_text(text, encoding="utf-8")
        return picture_of(read_net(tmp_path / "net.prototxt"), phase)

    return make


@pytest.mark.parametrize("net", sorted((ROOT / "configs").glob("*/net.prototxt")), ids=lambda path: path.parent.name)
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_every_layer_of_the_configs_is_drawn(net, rankdir):
    for phase in (TRAIN, TEST, None):
        picture = picture_of(read_net(net), phase)
        assert not picture.problems
        text = svg_text(picture, rankdir)
        root = ElementTree.fromstring(text)
        layers = {g.get("id"): g for g in root.iter(f"{SVG}g") if "layer" in (g.get("class") or "") and g.get("id")}
        assert len(layers) == len(picture.layers)
        for number, layer in enumerate(picture.layers):
            assert layers[f"layer-{number}"].findtext(f"{SVG}title").startswith(layer.param.name + ", ")
        assert len([p for p in root.iter(f"{SVG}path") if p.get("class") == "wire"]) == len(picture.wires)
        assert text.count("http") == 1  # the name of SVG's own namespace


def test_layers_in_place_stand_on_their_layer(picture):
    drawn = picture(
        INPUT
        + 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 5 } }\n'
        'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }\n'
        'layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }\n'
        'layer { name: "y" type: "Softmax" bottom: "ip" top: "y" }\n'
    )
    assert [box.layers for box in drawn.boxes] == [[0], [1, 2, 3], [4]]
    assert [(wire.tail, wire.head) for wire in drawn.wires] == [(0, 1), (1, 2)]
    assert (drawn.makers[4, 0], drawn.readers[1, 0], drawn.readers[3, 0]) == ([3], [2], [4])
    assert drawn.layers[1].shapes == [(5, 192), (5,)]
    assert (drawn.layers[1].parameters, drawn.layers[1].cost) == (5 * 192 + 5, 2 * 5 * 192)
    assert drawn.shapes["ip"] == (2, 5)


def test_a_net_that_runs_up_runs_up_in_its_boxes_too(picture):
    ip = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 5 } }'
    drawn = picture(INPUT + ip + 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }')
    tops = {}
    for rankdir in ("TB", "BT"):
        root = ElementTree.fromstring(svg_text(drawn, rankdir))
        rows = {g.get("id"): g.find(f"{SVG}rect") for g in root.iter(f"{SVG}g")}
        tops[rankdir] = [float(rows[f"layer-{number}"].get("y")) for number in (1, 2)]
    assert tops["TB"][0] < tops["TB"][1]
    assert tops["BT"][0] > tops["BT"][1]


def test_in_place_after_another_reader_it_is_a_box_of_its_own(picture):
    drawn = picture(
        INPUT + 'layer { name: "early" type: "Power" bottom: "x" top: "early" }\n'
        'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }\n'
        'layer { name: "late" type: "Power" bottom: "x" top: "late" }\n'
    )
    assert [box.layers for box in drawn.boxes] == [[0], [1], [2], [3]]
    assert [(wire.tail, wire.head) for wire in drawn.wires] == [(0, 1), (0, 2), (2, 3)]


def test_all_states_together(picture):
    both = "".join(
        f'layer {{ name: "in {phase}" type: "DummyData" top: "x" include {{ phase: {phase} }}\n'
        "  dummy_data_param { shape { dim: 2 } } }\n"
        for phase in ("TRAIN", "TEST")
    )
    drawn = picture(both + 'layer { name: "y" type: "ReLU" bottom: "x" top: "y" }\n', None)
    assert [(wire.tail, wire.head) for wire in drawn.wires] == [(0, 2), (1, 2)]
    assert drawn.makers[2, 0] == [0, 1]
    assert drawn.totals is None


def test_what_is_wrong_is_drawn(picture):
    drawn = picture(INPUT + 'layer { name: "y" type: "Relu" bottom: "x" top: "y" }\n'
                    'layer { name: "z" type: "ReLU" bottom: "y" top: "z" }\n')  # fmt: skip
    assert len(drawn.problems) == 1
    assert "Did you mean ReLU" in drawn.layers[1].problem
    assert [layer.problem for layer in drawn.layers if layer is not drawn.layers[1]] == ["", ""]
    root = ElementTree.fromstring(svg_text(drawn))
    wrong = [g for g in root.iter(f"{SVG}g") if "wrong" in (g.get("class") or "")]
    assert [g.get("id") for g in wrong] == ["layer-1"]


def test_names_that_xml_must_quote(picture):
    name = '<b> & \\"quotes\\" \\001 é'
    text = svg_text(picture(f'name: "{name}"\n' + INPUT.replace('"in"', f'"{name}"')))
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title").startswith('<b> & "quotes" \ufffd é, TRAIN')


def drawn(text: str) -> DrawnLayer:
    return DrawnLayer(parse_text(text, LayerParameter, "text").message, None)


def caption(text: str) -> str:
    layer = drawn(text)
    return layer.like.caption(layer.param)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("num_output: 8 kernel_size: 3", "3 x 3 → 8"),
        ("num_output: 8 kernel_size: 3 stride: 2 pad: 1 group: 4", "3 x 3 /2, pad 1, group 4 → 8"),
        ("num_output: 8 kernel_h: 3 kernel_w: 1 pad_h: 1", "3 x 1, pad 1 x 0 → 8"),
        ("num_output: 8 kernel_size: 3 kernel_size: 5 dilation: 2", "3 x 5, dilation 2 → 8"),
        ("", "? → 0"),
    ],
)
def test_what_is_said_of_a_convolution(fields, said):
    assert caption(f'type: "Convolution" convolution_param {{ {fields} }}') == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("pool: AVE global_pooling: true", "AVE, global"),
        ("kernel_size: 3 stride: 2", "MAX 3 x 3 /2"),
        ("kernel_h: 2 kernel_w: 4 stride_h: 2 stride_w: 1", "MAX 2 x 4 /2 x 1"),
    ],
)
def test_what_is_said_of_pooling(fields, said):
    assert caption(f'type: "Pooling" pooling_param {{ {fields} }}') == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('type: "InnerProduct" inner_product_param { num_output: 5 }', "→ 5"),
        ('type: "LSTM" recurrent_param { num_output: 5 }', "→ 5"),
        ('type: "Embed" embed_param { input_dim: 9 num_output: 5 }', "9 → 5"),
        ('type: "LRN"', "over 5"),
        ('type: "Dropout" dropout_param { dropout_ratio: 0.7 }', "0.7"),
        ('type: "Eltwise" eltwise_param { operation: PROD }', "PROD"),
        ('type: "Concat"', ""),
        ('type: "Concat" concat_param { axis: 2 }', "axis 2"),
        ('type: "Slice" slice_param { axis: -1 }', "axis -1"),
        ('type: "ReLU"', ""),
    ],
)
def test_what_is_said_of_others(text, said):
    assert caption(text) == said


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ('type: "ForkedConvolution" convolution_param { kernel_size: 3 num_output: 8 }', "convolution", "3 x 3 → 8"),
        ('type: "ForkedData" data_param { source: "s" }', "data", ""),
        ('type: "ForkedLoss" softmax_param { axis: 2 }', "loss", ""),
        ('type: "Forked"', "other", ""),
        ('type: "Forked" param { lr_mult: 0 } loss_param { ignore_label: 1 }', "other", ""),
        ("", "other", ""),
    ],
)
def test_a_type_of_a_fork_is_drawn_like_the_one_whose_parameters_it_takes(text, kind, said):
    assert (drawn(text).kind.value, caption(text)) == (kind, said)


def test_every_kind_has_its_colours():
    css = (ROOT / "caffe_lite" / "drawing" / "picture.css").read_text(encoding="utf-8")
    light, dark = css.split("@media")
    for kind in set(Kind) - {Kind.OTHER}:
        assert f".{kind.value} rect" in light
        assert f".{kind.value} rect" in dark
