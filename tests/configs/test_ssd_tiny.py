"""SSDTiny: the command that makes its pictures, training on a few of them, and a test of what it detects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.data.annotated.annotated_datum import objects_of, parse_annotated_datum
from caffe_lite.data.databases.opening import open_database
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.proto.caffe_pb2 import DataParameter
from caffe_lite.solvers import get_solver

from .conftest import IMAGES, ROOT, net_on, solver_on

FOLDER = ROOT / "configs" / "ssd_tiny"
LEARNED = 175_920
PRIORS = 756

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize("part", list(IMAGES))
def test_the_data(shapes: Path, part: str) -> None:
    records = open_database(str(shapes / f"{part}_lmdb"), DataParameter.LMDB).read(IMAGES[part])
    assert len({value for _, value in records}) == IMAGES[part]
    labels = set()
    for _, value in records:
        record = parse_annotated_datum(value)
        objects = objects_of(record.annotation_group)
        image = cv2.imdecode(np.frombuffer(record.datum.data, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (96, 96, 3) and 1 <= len(objects) <= 4
        labels |= set(objects[:, 0])
        boxes = objects[:, 2:6] * 96
        assert boxes.min() >= 0 and boxes.max() <= 96 and (boxes[:, 2:] - boxes[:, :2] >= 12).all()
    assert labels == {1, 2, 3}


def test_the_pictures_as_files_are_those_of_the_test(shapes: Path) -> None:
    files = sorted((shapes / "test_images").iterdir())
    assert len(files) == 10
    _, value = open_database(str(shapes / "test_lmdb"), DataParameter.LMDB).peek()
    image = cv2.imdecode(np.frombuffer(parse_annotated_datum(value).datum.data, np.uint8), cv2.IMREAD_COLOR)
    enlarged = cv2.imread(str(files[0])).astype(float)
    assert enlarged.shape == (288, 288, 3)
    assert np.abs(cv2.resize(enlarged, (96, 96), interpolation=cv2.INTER_AREA) - image).mean() < 6


def test_deploy() -> None:
    net = Net(FOLDER / "net.prototxt", TEST, stages=["deploy"])
    assert net.inputs == ["data"] and net.outputs == ["detection_out"]
    assert net.blobs["mbox_priorbox"].shape == (1, 2, 4 * PRIORS)
    assert sum(param.blob.count for param in net.learnable_params) == LEARNED
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{LEARNED:,}" in readme and f"{PRIORS} prior boxes" in readme
    assert f"{sum(map(multiply_adds, net.nodes)):,} per image" in readme


def test_the_gradient_reaches_every_parameter(shapes: Path, engine: str) -> None:
    net = Net(net_on(shapes, "ssd_tiny"), TRAIN, engine=engine, seed=1)
    net.forward()
    net.backward()
    assert np.isfinite(net.blobs["mbox_loss"].data)
    for name, blobs in net.params.items():
        for blob in blobs:
            assert np.isfinite(blob.diff).all() and blob.diff.any(), name


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart(shapes: Path) -> None:
    solver = solver_on(shapes, "ssd_tiny")
    for layer in solver.net_param.layer:
        layer.annotated_data_param.ClearField("batch_sampler")
    solver.test_iter[:] = [1]
    trained = get_solver(solver, engine="auto")
    trained.step(150)
    trained.test_nets[0].share_with(trained.net)
    trained.test_nets[0].forward()
    rows = trained.test_nets[0].blobs["detection_eval"].data.reshape(-1, 5)
    counts, judged = rows[rows[:, 0] == -1], rows[rows[:, 0] >= 0]
    sure = judged[judged[:, 2] > 0.5]
    assert sure[:, 3].sum() > 0.7 * counts[:, 2].sum() and sure[:, 3].mean() > 0.7
