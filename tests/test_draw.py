from __future__ import annotations

import builtins
import shutil
from xml.etree import ElementTree

import pytest

from caffe_lite import TEST, TRAIN, CaffeError, draw
from caffe_lite.errors import MissingExtra
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net, to_text

TEXT = """
name: "Small"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1 dim: 9 dim: 9 } } }
layer {
  name: "conv" type: "Convolution" bottom: "x" top: "conv" param { lr_mult: 3 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }
"""


@pytest.fixture
def net() -> NetParameter:
    return parse_text(TEXT, NetParameter, "text").message


def test_labels(net):
    _, conv, relu, pool, ip, prob = net.layer
    assert draw.get_layer_label(conv, "TB") == '"conv (Convolution) kernel size: 3 stride: 1 pad: 1"'
    assert draw.get_layer_label(conv, "LR", display_lrm=True).endswith('pad: 1\\nlr mult: 3.0, 1.0"')
    assert draw.get_layer_label(pool, "BT") == '"pool (Pooling AVE) kernel size: 2 stride: 2 pad: 0"'
    assert draw.get_layer_label(relu, "TB", True) == '"relu (ReLU)"'
    assert [draw.get_edge_label(layer) for layer in (conv, ip, prob)] == ["4", "7", '""']
    assert [draw.get_layer_lr_mult(layer) for layer in (conv, ip)] == [(3, 1), (1, 1)]
    with pytest.raises(ValueError, match="Softmax layers do not have a learning rate multiplier"):
        draw.get_layer_lr_mult(prob)
    assert draw.LAYER_STYLE_DEFAULT["shape"] == "record"
    assert draw.get_pooling_types_dict().items() >= {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}.items()
    assert draw.choose_color_by_layertype("Pooling") != draw.choose_color_by_layertype("ReLU")


def test_svg_and_html_need_nothing_else(net, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_pydot(name, *rest, **more):
        if name == "pydot":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pydot)
    draw.draw_net_to_file(net, tmp_path / "net.svg")
    titles = [title.text for title in ElementTree.parse(tmp_path / "net.svg").iter("{http://www.w3.org/2000/svg}title")]
    assert [title.split(",")[0] for title in titles[1:]] == ["x", "conv", "relu", "pool", "ip", "prob"]
    draw.draw_net_to_file(net, str(tmp_path / "net.html"), "TB", TRAIN, True)
    assert "lr_mult 3" in (tmp_path / "net.html").read_text(encoding="utf-8")
    assert draw.draw_net(net, "TB", "svg", TEST).count(b"lr_mult") == 0
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[draw\]'"):
        draw.draw_net_to_file(net, tmp_path / "net.png")
    assert not (tmp_path / "net.png").exists()


def test_the_graph_for_graphviz(net):
    pytest.importorskip("pydot")
    graph = draw.get_pydot_graph(net, "LR", phase=TRAIN)
    assert graph.get_rankdir() == "LR"
    labels = [node.get_label().strip('"').split("\\n")[0] for node in graph.get_nodes()]
    assert sorted(labels) == sorted(["x", "x", "conv", "conv", "relu", "pool", "pool", "ip", "ip"])
    assert len(graph.get_edges()) == 1 + 2 + 2 + 2 + 2
    assert len(draw.get_pydot_graph(net, "LR").get_nodes()) == len(labels) + 2


def test_by_graphviz(net, tmp_path):
    pytest.importorskip("pydot")
    if shutil.which("dot"):
        draw.draw_net_to_file(net, tmp_path / "net.png")
        assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    else:
        with pytest.raises(CaffeError, match="apt install graphviz"):
            draw.draw_net_to_file(net, tmp_path / "net.png")


def test_raw_is_the_text_for_graphviz(net, tmp_path):
    pytest.importorskip("pydot")
    draw.draw_net_to_file(net, tmp_path / "net.raw", "BT")
    text = (tmp_path / "net.raw").read_text(encoding="utf-8")
    assert text.startswith('digraph "Small" {')
    assert "rankdir=BT" in text


@pytest.mark.skipif(not shutil.which("dot"), reason="graphviz is not installed")
def test_stages_choose_the_layers_for_graphviz_too(net, tmp_path):
    pytest.importorskip("pydot")
    net.layer[-1].include[0].stage.append("deploy")
    (tmp_path / "net.prototxt").write_text(to_text(net))
    parsed = read_net(tmp_path / "net.prototxt")
    for stages, there in [((), False), (("deploy",), True)]:
        draw.write_picture(parsed, tmp_path / "net.dot", "LR", TEST, stages=stages)
        assert ("Softmax" in (tmp_path / "net.dot").read_text()) == there


def test_what_makes_no_sense_is_refused(net, tmp_path):
    with pytest.raises(CaffeError, match="TB, BT, LR, RL"):
        draw.draw_net_to_file(net, tmp_path / "net.svg", "DOWN")
    with pytest.raises(CaffeError, match="neither TRAIN"):
        draw.draw_net_to_file(net, tmp_path / "net.svg", "LR", 7)
    assert not list(tmp_path.iterdir())
