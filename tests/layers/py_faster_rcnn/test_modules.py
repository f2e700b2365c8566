from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import LayerError
from caffe_lite.inspection.check import check
from caffe_lite.layers.py_faster_rcnn.config import cfg

NET = """
layer { name: "in" type: "Input" top: "s" top: "d" top: "i" input_param {
  shape { dim: 1 dim: 18 dim: 2 dim: 2 } shape { dim: 1 dim: 36 dim: 2 dim: 2 } shape { dim: 1 dim: 3 } } }
layer { name: "rois" type: "Python" bottom: "s" bottom: "d" bottom: "i" top: "rois"
  python_param { module: "rpn.MODULE" layer: "ProposalLayer" param_str: "'feat_stride': 16" } }
"""
PROPOSAL = NET.replace("MODULE", "proposal_layer")

MINE = """
from caffe_lite import Layer

class ProposalLayer(Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)
    def forward(self, bottom, top):
        top[0].data[...] = 7
"""


@pytest.fixture
def own_rpn(tmp_path: Path):
    """Make a package ``rpn`` beside the prototxt, and forget it afterwards."""
    folder = tmp_path / "rpn"
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "rpn"]:
        del sys.modules[name]


def test_users_own_module_comes_first(make_net, own_rpn: Path) -> None:
    (own_rpn / "proposal_layer.py").write_text(MINE)
    np.testing.assert_array_equal(make_net(PROPOSAL).forward()["rois"], [7])


def test_users_package_without_the_module(make_net, own_rpn: Path) -> None:
    net = make_net(PROPOSAL)
    assert type(net.layers[1]).__module__ == "caffe_lite.layers.py_faster_rcnn.proposal_layer"


def test_a_module_that_is_not_here(make_net) -> None:
    with pytest.raises(LayerError, match="there is no Python module 'rpn'"):
        make_net(NET.replace("MODULE", "generate"))


def test_check_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PROPOSAL)
    checked = check(path)
    assert checked.problems == []
    assert not any("is not here" in note.what for note in checked.notes)


def test_settings_that_are_none() -> None:
    with pytest.raises(AttributeError, match="there is no setting 'BATCHSIZE'"):
        cfg.TRAIN.BATCHSIZE = 3
    with pytest.raises(AttributeError, match="there is no setting 'TRIAN'"):
        print(cfg.TRIAN)
    assert cfg["TEST"].RPN_NMS_THRESH == 0.7
