"""YOLOTiny: the labels that it reads, training on a few pictures, and a test of what it detects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.solvers import get_solver

from .conftest import ROOT, net_on, solver_on

NAME = "yolo_tiny"
FOLDER = ROOT / "configs" / NAME
LEARNED = 284_896
BOXES = 540


def test_deploy() -> None:
    net = Net(FOLDER / "net.prototxt", TEST, stages=["deploy"])
    assert net.inputs == ["data"] and net.outputs == ["detection_out"]
    assert 3 * sum(net.blobs[name].shape[2] * net.blobs[name].shape[3] for name in ("large", "small")) == BOXES
    assert sum(param.blob.count for param in net.learnable_params if param.lr_mult) == LEARNED
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{LEARNED:,}" in readme and f"{BOXES} boxes" in readme
    assert f"{sum(map(multiply_adds, net.nodes)):,} per image" in readme


def test_the_losses_read_lists_of_objects(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, NAME), TRAIN, engine=engine, seed=1)
    net.forward()
    label = net.blobs["label"].data
    assert label.shape == (16, 1, 300, 5)
    counts = (label[:, 0, :, 3] > 0).sum(1)
    assert counts.max() > 1 and counts.min() >= 0 and set(label[..., 0].ravel()) == {0, 1, 2}


def test_the_gradient_reaches_every_parameter(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, NAME), TRAIN, engine=engine, seed=1)
    net.forward()
    net.backward()
    assert all(np.isfinite(net.blobs[name].data) for name in net.outputs)
    for name, blobs in net.params.items():
        for blob in blobs[: 0 if name.endswith("/bn") else None]:
            assert np.isfinite(blob.diff).all() and blob.diff.any(), name


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart(shapes: Path) -> None:
    solver = solver_on(shapes, NAME)
    for layer in solver.net_param.layer:
        layer.annotated_data_param.yolo_data_jitter = 0
    solver.test_iter[:] = [1]
    solver.test_interval = 1000
    trained = get_solver(solver, engine="auto")
    trained.step(100)
    trained.test_all()
    assert trained.test_scores[0]["detection_eval"][0] > 0.7
