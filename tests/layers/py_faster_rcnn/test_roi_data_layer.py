from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_lite.errors import DataError, LayerError
from caffe_lite.layers.py_faster_rcnn.config import cfg

from .python_net import python_net

cv2 = pytest.importorskip("cv2")

SIZES = [(40, 60), (30, 90), (80, 50), (64, 64), (70, 30), (20, 30)]  # height, width


@pytest.fixture
def roidb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Write images, and list them with random boxes; every second one is flipped."""
    monkeypatch.setitem(cfg.TRAIN, "SCALES", (48, 60))
    monkeypatch.setitem(cfg.TRAIN, "MAX_SIZE", 100)
    monkeypatch.setitem(cfg.TRAIN, "BATCH_SIZE", 12)
    rng, entries = np.random.default_rng(1), []
    for i, (height, width) in enumerate(SIZES):
        path = str(tmp_path / f"{i}.png")
        cv2.imwrite(path, rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        corners = rng.uniform(0, 1, (30, 4)) * [width / 2, height / 2, width / 2, height / 2]
        corners[:, 2:] += corners[:, :2]
        classes = rng.integers(0, 3, 30)
        targets = np.column_stack([classes, rng.normal(size=(30, 4))]).astype(np.float32)
        entry = {"image": path, "flipped": bool(i % 2), "width": width, "height": height, "boxes": corners}
        entry |= {"gt_classes": classes, "max_classes": classes, "max_overlaps": rng.uniform(0, 1, 30)}
        entries.append(entry | {"bbox_targets": targets})
    return entries


def scaled(entry: dict[str, Any], size: int) -> tuple[np.ndarray, float]:
    image = cv2.imread(entry["image"]).astype(np.float32)
    if entry["flipped"]:
        image = image[:, ::-1]
    scale = min(size / min(image.shape[:2]), 100 / max(image.shape[:2]))
    image = image - np.array([102.9801, 115.9465, 122.7717], np.float32)
    return cv2.resize(image, None, fx=scale, fy=scale), scale


def test_images_and_objects(engine: str, roidb: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cfg.TRAIN, "HAS_RPN", True)
    monkeypatch.setitem(cfg.TRAIN, "IMS_PER_BATCH", 1)
    monkeypatch.setitem(cfg.TRAIN, "ASPECT_GROUPING", False)
    net = python_net("RoIDataLayer", [], 3, "'num_classes': 3", engine)
    np.random.seed(11)
    net.layers[0].set_roidb(roidb)
    np.random.seed(11)
    order = list(np.random.permutation(6))
    for step in range(8):
        state = np.random.get_state()
        net.forward()
        np.random.set_state(state)
        if step == 5:  # the sixth of a round is never read
            order += list(np.random.permutation(6))
        entry = roidb[(order[:5] + order[6:])[step]]
        image, scale = scaled(entry, cfg.TRAIN.SCALES[np.random.randint(0, 2, size=1)[0]])
        np.testing.assert_allclose(net.blobs["y0"].data[0], image.transpose(2, 0, 1), atol=1e-3)
        np.testing.assert_allclose(net.blobs["y1"].data, [[*image.shape[:2], scale]], rtol=1e-6)
        objects = entry["gt_classes"] != 0
        wanted = np.column_stack([entry["boxes"] * scale, entry["gt_classes"]])[objects]
        np.testing.assert_allclose(net.blobs["y2"].data, wanted, rtol=1e-5)


def test_images_and_regions(engine: str, roidb: list[dict[str, Any]]) -> None:
    net = python_net("RoIDataLayer", [], 6, "'num_classes': 3", engine)
    np.random.seed(5)
    net.layers[0].set_roidb(roidb)
    np.random.seed(5)
    wide, tall = np.random.permutation([0, 1, 3, 5]), np.random.permutation([2, 4])
    pairs = np.hstack([wide, tall]).reshape(-1, 2)
    first = pairs[np.random.permutation(np.arange(3))][0]
    state = np.random.get_state()
    net.forward()
    np.random.set_state(state)
    drawn = np.random.randint(0, high=2, size=2)
    blobs = [net.blobs[f"y{i}"].data for i in range(6)]
    images = [scaled(roidb[i], cfg.TRAIN.SCALES[k]) for i, k in zip(first, drawn, strict=True)]
    size = np.max([image.shape[:2] for image, _ in images], 0)
    assert blobs[0].shape == (2, 3, *size)
    row = 0
    for number, (index, (image, scale)) in enumerate(zip(first, images, strict=True)):
        padded = np.zeros((*size, 3))
        padded[: image.shape[0], : image.shape[1]] = image
        np.testing.assert_allclose(blobs[0][number], padded.transpose(2, 0, 1), atol=1e-3)
        entry = roidb[index]
        overlaps = entry["max_overlaps"]
        objects = np.random.choice(np.where(overlaps >= 0.5)[0], size=2, replace=False)
        background = np.where((overlaps < 0.5) & (overlaps >= 0.1))[0]
        background = np.random.choice(background, size=4, replace=False)
        for place, region in enumerate([*objects, *background]):
            np.testing.assert_allclose(blobs[1][row], [number, *entry["boxes"][region] * scale], rtol=1e-5)
            assert blobs[2][row] == (entry["max_classes"][region] if place < 2 else 0)
            label, *target = entry["bbox_targets"][region]
            wanted, weights = np.zeros((2, 3, 4))
            if label:
                wanted[int(label)], weights[int(label)] = target, 1
            np.testing.assert_allclose(blobs[3][row], wanted.ravel(), rtol=1e-6)
            np.testing.assert_array_equal(blobs[4][row], weights.ravel())
            np.testing.assert_array_equal(blobs[5][row], weights.ravel())
            row += 1
    assert [len(values) for values in blobs[1:]] == [row] * 5


def test_what_makes_no_sense(engine: str, roidb: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayerError, match="it has 3 tops, and HAS_RPN False and BBOX_REG True give 6: data, rois"):
        python_net("RoIDataLayer", [], 3, "'num_classes': 3", engine)
    net = python_net("RoIDataLayer", [], 6, "'num_classes': 3", engine)
    with pytest.raises(LayerError, match="it has no images"):
        net.forward()
    with pytest.raises(LayerError, match="ASPECT_GROUPING makes pairs of 5 images"):
        net.layers[0].set_roidb(roidb[:5])
    net.layers[0].set_roidb([entry | {"image": "nowhere.png"} for entry in roidb])
    with pytest.raises(DataError, match=r"'nowhere\.png' is no image that can be read"):
        net.forward()
    monkeypatch.setitem(cfg.TRAIN, "BATCH_SIZE", 13)
    with pytest.raises(LayerError, match="BATCH_SIZE is 13, which 2 images cannot share evenly"):
        net.forward()
