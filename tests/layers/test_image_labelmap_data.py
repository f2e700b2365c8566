"""The ImageLabelmapData layer: maps of edges with their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import DataError
from tests.data.database_files import random_images
from tests.data.image_files import pair_list, write_image

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]
IMAGES, EDGES = random_images(3, (3, 8, 9)), random_images(3, (1, 8, 9), seed=1)[:, 0]


def layer(source: Path, batch_size: int = 3, more: str = "", transform: str = "") -> str:
    return (
        f'layer {{ name: "edges" type: "ImageLabelmapData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'image_data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pair_list(tmp_path / "pairs", IMAGES, EDGES)


def test_edges_are_where_the_map_is_bright(make_net: MakeNet, source: Path) -> None:
    data, label = batch(make_net(layer(source)))
    np.testing.assert_array_equal(data, IMAGES)
    np.testing.assert_array_equal(label[:, 0], np.rint(EDGES / 255))


def test_maps_are_interpolated_before(make_net: MakeNet, source: Path) -> None:
    data, label = batch(make_net(layer(source, 3, "new_height: 5 new_width: 12")))
    for i, (image, edges) in enumerate(zip(IMAGES, EDGES, strict=True)):
        np.testing.assert_array_equal(data[i], cv2.resize(image.transpose(1, 2, 0), (12, 5)).transpose(2, 0, 1))
        np.testing.assert_array_equal(label[i, 0], np.rint(cv2.resize(edges, (12, 5)) / 255))


def test_crops_are_at_random_places_in_test_too(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, 1, transform="crop_size: 6 mirror: true"), TEST, seed=1)
    windows = {}
    for row in range(3):
        for column in range(4):
            for step in (1, -1):
                window = (slice(row, row + 6), slice(column, column + 6))
                cut = (..., *window[:1], window[1])
                for image, edges in zip(IMAGES, EDGES, strict=True):
                    windows[image[cut][..., ::step].tobytes()] = (row, step, edges[cut][..., ::step] >= 128)
    seen = set()
    for _ in range(15):
        data, label = batch(net)
        row, step, expected = windows[data[0].astype(np.uint8).tobytes()]
        np.testing.assert_array_equal(label[0, 0], expected)
        seen.add((row, step))
    assert len(seen) > 3


def test_a_map_of_another_size(make_net: MakeNet, source: Path) -> None:
    write_image(source.parent / "lab0.png", EDGES[:1, :7])
    with pytest.raises(DataError, match=r"it is 8 x 9 \(H x W\), and its labels '.*lab0.png' are 7 x 9"):
        make_net(layer(source, 3, "new_height: 5 new_width: 12"))
