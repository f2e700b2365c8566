from __future__ import annotations

from xml.etree import ElementTree

import pytest

SVG = "{http://www.w3.org/2000/svg}"


def titles(path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return [g.findtext(f"{SVG}title") for g in root.iter(f"{SVG}g") if (g.get("id") or "").startswith("layer-")]


def test_svg(caffe, folder):
    result = caffe("draw", "net.prototxt", "net.svg")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Drawing net to net.svg\n", "")
    assert titles(folder / "net.svg") == [
        "images, Data",
        "ip1, InnerProduct  → 6",
        "relu1, ReLU",
        "ip2, InnerProduct  → 3",
        "loss, SoftmaxWithLoss",
    ]
    assert "8 × 1 × 3 × 4" in (folder / "net.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("phase", "layers"), [("TEST", 6), ("ALL", 7)])
def test_the_phase_chooses_the_layers(caffe, folder, phase, layers):
    assert caffe("draw", "net.prototxt", "net.svg", "--phase", phase).returncode == 0
    assert len(titles(folder / "net.svg")) == layers


def test_html(caffe, folder):
    assert caffe("draw", "net.prototxt", "net.html").returncode == 0
    page = (folder / "net.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "Stripes, TRAIN: 5 layers" in page
    assert "8 x 1 x 3 x 4" in page


def test_rankdir_turns_it(caffe, folder):
    size = {}
    for rankdir in ("TB", "BT", "LR", "RL"):
        assert caffe("draw", "net.prototxt", "net.svg", "--rankdir", rankdir).returncode == 0
        root = ElementTree.parse(folder / "net.svg").getroot()
        size[rankdir] = float(root.get("width")), float(root.get("height"))
    assert size["TB"] == size["BT"]
    assert size["LR"] == size["RL"]
    assert size["TB"][0] < size["LR"][0]
    assert size["TB"][1] > size["LR"][1]


def test_the_original_s_flags(caffe, folder):
    result = caffe("draw", "--rankdir=LR", "--phase=TEST", "--display_lrm=True", "net.prototxt", "net.svg")
    assert result.returncode == 0, result.stderr
    assert "ip1, InnerProduct  → 6  lr_mult 1" in titles(folder / "net.svg")


def test_a_layer_that_is_wrong_is_told_and_drawn(caffe, folder):
    text = (folder / "net.prototxt").read_text().replace('"ReLU"', '"Relu"')
    (folder / "net.prototxt").write_text(text)
    result = caffe("draw", "net.prototxt", "net.svg")
    assert result.returncode == 0
    assert "Did you mean ReLU" in result.stderr
    assert len(titles(folder / "net.svg")) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.prototxt", "net"], "no suffix"),
        (["none.prototxt", "net.svg"], "no such file"),
        (["net.prototxt", "no/folder/net.svg"], "mkdir -p"),
    ],
)
def test_errors(caffe, arguments, said):
    result = caffe("draw", *arguments)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
