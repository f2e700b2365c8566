from __future__ import annotations

import math

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import SolverParameter
from caffe_lite.solvers import get_solver

from .gradient import Bottom, make_net

BOXES = np.zeros((2, 1, 3, 5))
BOXES[0, 0, :2] = [[7, 0.5, 0.5, 0.5, 0.5], [0, 0.05, 0.9, 0.01, 0.5]]
BOXES[1, 0, 0] = [0, 0.97, 0.3, 0.5, 0.1]
# The places of 4 x 5 that the boxes cover: rows, then columns, of each image
INSIDE = np.zeros((2, 4, 5))
INSIDE[0, 1:3, 1:4] = INSIDE[0, 2:4, 0:1] = INSIDE[1, 1:2, 3:5] = 1


def make(engine, phase=TRAIN, mean_shape=(2, 4, 5)):
    bottoms = [Bottom((2, 3, 4, 5)), Bottom(BOXES.shape, lambda rng: BOXES), Bottom(mean_shape)]
    return make_net('type: "AssistedExcitation"', bottoms, engine=engine, phase=phase)


@pytest.mark.parametrize("mean_shape", [(2, 4, 5), (2, 1, 4, 5)])
@pytest.mark.parametrize("progress", [0, 0.3, 0.75, 1])
def test_places_in_true_boxes_are_raised(progress: float, mean_shape: tuple[int, ...], engine: str) -> None:
    net = make(engine, mean_shape=mean_shape)
    net.nodes[-1].layer.progress = progress
    net.forward()
    alpha = math.cos(math.pi / 2 * progress / 0.75) if progress < 0.75 else 0
    x, m = net.blobs["x0"].data, net.blobs["x2"].data.reshape(2, 1, 4, 5)
    np.testing.assert_allclose(net.blobs["y0"].data, x + alpha * INSIDE[:, None] * m)


def test_nothing_is_raised_in_the_test_phase(engine: str) -> None:
    net = make(engine, TEST)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data)


def test_the_solver_tells_how_much_has_passed() -> None:
    seen = []
    solver = get_solver(
        text_format.Parse(
            """base_lr: 0 lr_policy: "fixed" max_iter: 4 net_param {
            layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 } } }
            layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }
            layer { name: "z" type: "EuclideanLoss" bottom: "y" bottom: "y" top: "z" } }""",
            SolverParameter(),
        )
    )
    solver.on_iteration.append(lambda solver: seen.append(solver.net.nodes[0].layer.progress))
    solver.step(3)
    assert seen == [0, 0.25, 0.5]


def test_mistakes() -> None:
    with pytest.raises(LayerError, match="the third bottom has the shape"):
        make("numpy", mean_shape=(2, 3, 4, 5))
