"""FasterRCNNTiny: what its layers make of the labels, training on a few pictures, and a test of what it detects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.solvers import get_solver

from .conftest import ROOT, net_on, solver_on

NAME = "faster_rcnn_tiny"
FOLDER = ROOT / "configs" / NAME
LEARNED = 257_818
ANCHORS = 576
PER_REGION = ("fc6", "cls_score", "bbox_pred")


def test_deploy() -> None:
    net = Net(FOLDER / "net.prototxt", TEST, stages=["deploy"])
    assert net.inputs == ["data", "im_info"] and net.outputs == ["bbox_pred", "cls_prob"]
    assert net.blobs["rpn_cls_score"].count == 2 * ANCHORS
    assert sum(param.blob.count for param in net.learnable_params) == LEARNED
    costs = {node.name: multiply_adds(node) for node in net.nodes}
    region = sum(costs.pop(name) for name in PER_REGION)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for text in (f"{LEARNED:,}", f"{ANCHORS} anchors", f"{sum(costs.values()):,} per image", f"{region:,} per region"):
        assert text in readme


def test_what_the_layers_of_regions_read(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, NAME), TRAIN, engine=engine, seed=1)
    net.forward()
    label = net.blobs["label"].data.reshape(-1, 8)
    corners = label[:, 3:7] * 128 - (0, 0, 1, 1)
    np.testing.assert_allclose(net.blobs["gt_boxes"].data, np.column_stack([corners, label[:, 1]]), atol=1e-4)
    assert net.blobs["im_info"].data.tolist() == [[128, 128, 1]]
    assert (net.blobs["rpn_labels"].data == 1).any() and (net.blobs["labels"].data > 0).any()


def test_the_gradient_reaches_every_parameter(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, NAME), TRAIN, engine=engine, seed=1)
    net.forward()
    net.backward()
    assert all(np.isfinite(net.blobs[name].data) for name in net.outputs)
    for name, blobs in net.params.items():
        for blob in blobs:
            assert np.isfinite(blob.diff).all() and blob.diff.any(), name


def test_the_rows_of_a_test(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, NAME), TEST, engine=engine, seed=1)
    net.forward()
    assert net.outputs == ["detection_eval"]
    found, rows = net.blobs["found"].data.reshape(-1, 7), net.blobs["detection_out"].data[0, 0]
    assert len(rows) > 10 and (rows[1:, 2] > 0.01).all() and rows.shape == found.shape
    np.testing.assert_allclose(rows[:, :3], found[:, [0, 5, 6]])
    np.testing.assert_allclose(rows[:, 3:] * 128, found[:, 1:5] + (0, 0, 1, 1), atol=1e-4)
    counts = net.blobs["detection_eval"].data.reshape(-1, 5)[:3]
    assert counts[:, 2].sum() == len(net.blobs["label"].data.reshape(-1, 8))


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart(shapes: Path) -> None:
    solver = solver_on(shapes, NAME)
    for layer in solver.net_param.layer:
        layer.transform_param.mirror = False
    solver.test_iter[:] = [10]
    solver.test_interval, solver.max_iter = 600, 600
    trained = get_solver(solver)
    np.random.seed(1)  # py-faster-rcnn's layers draw from it
    trained.step(600)
    trained.test_all()
    assert trained.test_scores[0]["detection_eval"][0] > 0.7
