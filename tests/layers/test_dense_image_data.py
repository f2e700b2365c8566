"""The DenseImageData layer: labels stay with their pixels, and are never interpolated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.data.mean import write_mean
from caffe_lite.errors import DataError, LayerError
from tests.data.database_files import random_images
from tests.data.image_files import labels_at, pair_list, palette_png, places, write_image

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]


def layer(source: Path, batch_size: int = 2, more: str = "", transform: str = "") -> str:
    return (
        f'layer {{ name: "pairs" type: "DenseImageData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'dense_image_data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images of 12 x 10 whose pixels tell their places."""
    image, labels = places(12, 10)
    return pair_list(tmp_path / "pairs", [image, image], [labels, labels])


def test_pairs_in_their_order(make_net: MakeNet, tmp_path: Path) -> None:
    images, labels = random_images(3), random_images(3, (1, 6, 7), seed=1)
    net = make_net(layer(pair_list(tmp_path / "three", images, labels[:, 0]), 2))
    for step in range(3):
        data, label = batch(net)
        index = np.arange(2 * step, 2 * step + 2) % 3
        np.testing.assert_array_equal(data, images[index])
        np.testing.assert_array_equal(label, labels[index])


def test_values_change_and_labels_do_not(make_net: MakeNet, source: Path) -> None:
    image, labels = places(12, 10)
    transform = "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5"
    data, label = batch(make_net(layer(source, transform=transform)))
    np.testing.assert_array_equal(data[1], (image - np.array([1.0, 2, 3])[:, None, None]) / 2)
    np.testing.assert_array_equal(label[1, 0], labels)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize(
    ("more", "transform"),
    [("mirror: true crop_height: 5 crop_width: 4", ""), ("", "mirror: true crop_h: 5 crop_w: 4"), ("", "crop_size: 4")],
)
def test_labels_go_where_their_pixels_go(
    make_net: MakeNet, source: Path, phase: int, more: str, transform: str
) -> None:
    net = make_net(layer(source, 2, more, transform), phase, seed=1)
    batches = [batch(net) for _ in range(12)]
    data, label = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    rows, columns = data[:, 0], data[:, 2]
    np.testing.assert_array_equal(label[:, 0], labels_at(rows.astype(np.uint8), columns.astype(np.uint8)))
    assert data.shape[2:] == ((4, 4) if "size" in transform else (5, 4))
    mirrored = columns[:, 0, 0] > columns[:, 0, -1]
    assert set(mirrored) == ({True, False} if "mirror" in more + transform else {False})
    # The layer's own crop is at random places in every phase; that of transform_param is in the centre in TEST.
    places_seen = {(row, column) for row, column in zip(rows[:, 0, 0], columns.min((1, 2)), strict=True)}
    assert (len(places_seen) > 1) == (phase == TRAIN or bool(more))
    if "height" in more and phase == TRAIN:
        assert {row for row, _ in places_seen} <= set(range(8)) and {column for _, column in places_seen} == set(
            range(7)
        )


def test_only_images_are_interpolated(make_net: MakeNet, tmp_path: Path) -> None:
    image, labels = random_images(1, (3, 6, 7))[0], np.array([[0, 200], [90, 10]], np.uint8)
    source = pair_list(tmp_path / "pairs", [image], [labels])
    net = make_net(layer(source, 1, "new_height: 9 new_width: 4"))
    data, label = batch(net)
    np.testing.assert_array_equal(data[0], cv2.resize(image.transpose(1, 2, 0), (4, 9)).transpose(2, 0, 1))
    np.testing.assert_array_equal(label[0, 0], labels[[0] * 5 + [1] * 4][:, [0, 0, 1, 1]])


def test_enets_smaller_labels(make_net: MakeNet, source: Path) -> None:
    _, labels = places(12, 10)
    data, label = batch(make_net(layer(source, 2, "new_height: 12 new_width: 10 label_divide_factor: 4 mirror: true")))
    assert data.shape == (2, 3, 12, 10) and label.shape == (2, 1, 3, 2)
    for each, pixels in zip(label[:, 0], data, strict=True):
        expected = labels[::4, [0, 5]]
        np.testing.assert_array_equal(each, expected[:, ::-1] if pixels[2, 0, 0] else expected)


def test_gray_images_and_colours_that_stand_for_classes(make_net: MakeNet, tmp_path: Path) -> None:
    indices = np.random.default_rng(0).integers(0, 21, (5, 6))
    colors = np.random.default_rng(1).integers(0, 256, (21, 3))
    (tmp_path / "labels.png").write_bytes(palette_png(indices, colors))
    write_image(tmp_path / "image.png", random_images(1, (1, 5, 6))[0])
    (tmp_path / "list.txt").write_text("image.png labels.png\n")
    net = make_net(layer(tmp_path / "list.txt", 1, f'is_color: false root_folder: "{tmp_path.as_posix()}/"'))
    data, label = batch(net)
    np.testing.assert_array_equal(data, random_images(1, (1, 5, 6)))
    np.testing.assert_array_equal(label[0, 0], indices)


def test_a_mean_image_stays_in_place_while_pairs_are_mirrored(make_net: MakeNet, source: Path, tmp_path: Path) -> None:
    mean = random_images(1, (3, 5, 4))[0].astype(np.float32)
    write_mean(mean, str(tmp_path / "mean.binaryproto"))
    more = "mirror: true crop_height: 5 crop_width: 4"
    net = make_net(layer(source, 2, more, f'mean_file: "{(tmp_path / "mean.binaryproto").as_posix()}"'), seed=1)
    for _ in range(4):
        data, label = batch(net)
        pixels = (data + mean).astype(np.uint8)
        np.testing.assert_array_equal(label[:, 0], labels_at(pixels[:, 0], pixels[:, 2]))


@pytest.mark.parametrize(
    ("more", "transform", "message"),
    [
        ("new_height: 3", "", "one of new_height and new_width is given. Give both, or none"),
        ("crop_height: 3", "", "one of crop_height and crop_width is given. Give both, or none"),
        ('mean_file: "m"', "", "mean_file in dense_image_data_param is not read. Write it into transform_param"),
        ("label_divide_factor: 2", "", "label_divide_factor is 2, and new_height x new_width 0 x 0"),
        ("label_divide_factor: 0", "", "label_divide_factor is 0, and"),
        ("new_height: 4 new_width: 4 label_divide_factor: 2", "crop_size: 2", "and there is a crop"),
        ("crop_height: 2 crop_width: 2", "crop_size: 2", "both give a crop. Keep one of them"),
        ("", "resize_param { height: 2 width: 2 }", "resize_param in transform_param cannot be read here. Remove it"),
        ("", "expand_param { }", "expand_param in transform_param cannot be read here. Remove it"),
        ("rand_skip: 3", "", "rand_skip is 3, there are 2 images"),
    ],
)
def test_settings_that_cannot_be(make_net: MakeNet, source: Path, more: str, transform: str, message: str) -> None:
    with pytest.raises(LayerError) as caught:
        make_net(layer(source, 2, more, transform))
    assert 'layer "pairs" (DenseImageData): ' in str(caught.value)
    assert message in str(caught.value)


def test_files_that_cannot_be(make_net: MakeNet, source: Path) -> None:
    first = source.parent / "lab0.png"
    start = f"{source.as_posix()}:1:1, layer \"pairs\" (DenseImageData): the image '{source.parent.as_posix()}/im0.png'"

    def message() -> str:
        with pytest.raises(DataError) as caught:
            make_net(layer(source))
        return str(caught.value)

    write_image(first, np.zeros((1, 12, 9), np.uint8))
    assert f"{start} cannot be used: it is 12 x 10 (H x W), and its labels '{first.as_posix()}' are 12 x 9" in message()
    write_image(first, random_images(1, (3, 12, 10))[0])
    assert f"its labels '{first.as_posix()}': it is in colour" in message()
    first.unlink()
    assert f"{start} cannot be used: its labels '{first.as_posix()}': it is not there: looked for " in message()
    source.write_text("alone.png\n")
    assert ":1:1, " in message() and "the line has one word, 'alone.png'. A line is the path of an image" in message()
    source.write_text("")
    assert "the list of images is empty. Write lines like cat.jpg cat_labels.png" in message()


def test_a_crop_larger_than_an_image(make_net: MakeNet, source: Path) -> None:
    with pytest.raises(DataError, match=r"crop_height x crop_width 13 x 4 is larger than the image: 12 x 10"):
        make_net(layer(source, 2, "crop_height: 13 crop_width: 4"))
