from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import AnnotatedDatum
from tests.data.annotated_files import annotated, records
from tests.data.database_files import random_images, write_lmdb

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]
LANES = [[(0.25, 0.75), (0.5, 0.5), (0.75, 0.25)], [(1.5, 0.5), (0.9, 0.1)]]


def lane_lmdb(folder: Path, image: np.ndarray, lanes: Sequence[Sequence[tuple[float, float]]]) -> Path:
    record = annotated(image, [], encoded=True)
    record.type = AnnotatedDatum.LANE
    for lane in lanes:
        group = record.annotation_group.add()
        for x, y in lane:
            annotation = group.annotation.add()
            annotation.lanes.x, annotation.lanes.y = x, y
    return write_lmdb(folder, records([record]))


def layer(source: Path, batch_size: int = 1, transform: str = "", more: str = "seg_scales: 2") -> str:
    return (
        'layer { name: "roads" type: "LaneData" top: "data" top: "label" top: "maps" '
        f"transform_param {{ {transform} }} annotated_data_param {{ {more} }} "
        f'data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} backend: LMDB }} }}'
    )


def test_points_and_lines(make_net: MakeNet, tmp_path: Path) -> None:
    (image,) = random_images(1, (3, 16, 24))
    net = make_net(layer(lane_lmdb(tmp_path / "lmdb", image, LANES)))
    net.forward()
    assert (net.blobs["data"].data == image).all()
    label = np.zeros((1, 5, 64, 3))
    label[..., 2] = -1
    label[0, 0, :3] = [[0.75, 0.25, 0], [0.5, 0.5, 0], [0.25, 0.75, 0]]
    label[0, 1, :2] = [[0.9, 0.1, 1], [1.5, 0.5, -1]]
    np.testing.assert_allclose(net.blobs["label"].data, label, rtol=1e-6)
    lines = np.zeros((8, 12), np.uint8)
    cv2.line(lines, (9, 2), (6, 4), 1)
    cv2.line(lines, (6, 4), (3, 6), 1)
    np.testing.assert_array_equal(net.blobs["maps"].data[0, 0], lines)


def test_lanes_go_along_with_patches_and_mirrors(make_net: MakeNet, tmp_path: Path) -> None:
    """The image has a bright pixel block at each point of its lane."""
    image = np.zeros((3, 60, 100), np.uint8)
    points = [(0.305, 0.425), (0.605, 0.625)]
    for x, y in points:
        image[:, round(y * 60) - 4 : round(y * 60) + 5, round(x * 100) - 4 : round(x * 100) + 5] = 255
    source = lane_lmdb(tmp_path / "lmdb", image, [points])
    transform = "mirror: true resize_param { height: 60 width: 100 }"
    net = make_net(layer(source, 30, transform, "yolo_data_type: 1 yolo_data_jitter: 0.5 seg_resize_height: 30"))
    net.forward()
    assert net.blobs["maps"].shape == (30, 1, 7, 12)
    places = set()
    for shown, label in zip(net.blobs["data"].data[:, 0], net.blobs["label"].data[:, 0, :2], strict=True):
        for x, y, number in label:
            if number == 0 and 0.05 < x < 0.95 and 0.05 < y < 0.95:
                assert shown[int(y * 60), int(x * 100)] > 100
                places.add((round(x, 2), round(y, 2)))
    assert len(places) > 20


def test_more_lanes_and_points_than_there_is_room_for(make_net: MakeNet, tmp_path: Path) -> None:
    (image,) = random_images(1, (3, 16, 24))
    lanes = [[(0.1 * number, 0.01 * i) for i in range(70)] for number in range(7)]
    net = make_net(layer(lane_lmdb(tmp_path / "lmdb", image, lanes)))
    net.forward()
    np.testing.assert_array_equal(net.blobs["label"].data[0, :, :, 2], np.arange(5)[:, None] * np.ones(64))
    assert net.blobs["label"].data[0, 0, 0, 1] == np.float32(0.69)


def test_mistakes(make_net: MakeNet, tmp_path: Path) -> None:
    (image,) = random_images(1, (3, 16, 24))
    boxes = write_lmdb(tmp_path / "boxes", records([annotated(image, [])]))
    with pytest.raises(DataError, match="it has no lanes"):
        make_net(layer(boxes))
    with pytest.raises(LayerError, match="lanes cannot follow"):
        make_net(layer(boxes, transform="crop_size: 8"))
