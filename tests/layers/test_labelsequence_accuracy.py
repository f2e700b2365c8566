from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

FRAMES = np.eye(3)[[[1, 1, 0, 1], [2, 2, 0, 0], [0, 0, 0, 0], [1, 2, 1, 1]]]


def test_what_frames_spell(engine) -> None:
    scores = Bottom(FRAMES.shape, lambda rng: FRAMES)
    for labels, share in [([[1, 1, 0], [0, 2, 0], [0, 0, 0], [1, 2, 0]], 0.75), ([[1, 0, 0]] * 4, 0)]:
        net = make_layer_net('type: "LabelsequenceAccuracy"', [scores, Bottom((4, 3))], engine=engine, phase=TEST)
        net.blobs["x1"].data[...] = labels
        net.forward()
        assert float(net.blobs["y0"].data) == share


def test_another_blank_and_no_sequences(engine) -> None:
    layer = 'type: "LabelsequenceAccuracy" labelsequence_accuracy_param { blank_label: 2 }'
    bottoms = [Bottom((1, 4, 3), lambda rng: FRAMES[3:]), Bottom((1, 4), lambda rng: np.array([[1, 1, 2, 2]]))]
    net = make_layer_net(layer, bottoms, engine=engine, phase=TEST)
    net.forward()
    assert float(net.blobs["y0"].data) == 1
    nothing = [Bottom(shape, lambda rng, shape=shape: np.zeros(shape)) for shape in [(0, 4, 3), (0, 4)]]
    net = make_layer_net(layer, nothing, engine=engine, phase=TEST)
    net.forward()
    assert float(net.blobs["y0"].data) == 0


@pytest.mark.parametrize(
    ("shapes", "what"),
    [([(2, 3), (2, 3)], "the scores have the shape (2, 3)"), ([(2, 3, 4), (3, 3)], "the labels have the shape (3, 3)")],
)
def test_what_is_refused(shapes, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        make_layer_net('type: "LabelsequenceAccuracy"', [Bottom(shape) for shape in shapes], engine=engine)
    assert what in str(error.value)
