from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError
from caffe_lite.layers.py_faster_rcnn.config import cfg

from ..test_proposal import INFO, NINE, candidates, inputs, rows, suppressed
from .python_net import python_net


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_values(engine: str, phase: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = cfg.TRAIN if phase == TRAIN else cfg.TEST
    monkeypatch.setitem(config, "RPN_PRE_NMS_TOP_N", 150)
    monkeypatch.setitem(config, "RPN_POST_NMS_TOP_N", 20)
    bottoms = [bottom.values(np.random.default_rng()) for bottom in inputs(9)]
    net = python_net("ProposalLayer", bottoms, 2, "'feat_stride': 16", engine, phase)
    net.forward()
    found = [
        (score, box)
        for score, box in candidates(bottoms[0][0], bottoms[1][0], INFO[0], NINE, (16, 16))
        if all(box[2 + i] - box[i] + 1 >= 16 * 1.5 for i in (0, 1))
    ]
    kept = suppressed(sorted(found, key=lambda pair: -pair[0])[:150], 0.7, 20)
    np.testing.assert_allclose(net.blobs["y0"].data, rows(0, kept), atol=1e-4)
    np.testing.assert_allclose(net.blobs["y1"].data, [[score] for score, _ in kept], rtol=1e-6)


def test_scales(engine: str) -> None:
    bottoms = [np.zeros((1, 12, 1, 1)), np.zeros((1, 24, 1, 1)), np.array([[1000, 1000, 0]])]
    net = python_net("ProposalLayer", bottoms, 1, "{'feat_stride': 16, 'scales': [8, 16]}", engine)
    wanted = np.array(NINE)[[0, 1, 3, 4, 6, 7]] + [0, 0, 1, 1]
    np.testing.assert_array_equal(net.forward()["y0"][:, 1:], wanted.clip(0))


def test_several_images(engine: str) -> None:
    bottoms = [np.zeros((2, 18, 3, 3)), np.zeros((2, 36, 3, 3)), np.ones((2, 3))]
    net = python_net("ProposalLayer", bottoms, 1, "'feat_stride': 16", engine)
    with pytest.raises(LayerError, match="the first bottom holds 2 images"):
        net.forward()
