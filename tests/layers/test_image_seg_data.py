"""The ImageSegData layer: scales, padding and crops of images and their labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError, DataError, LayerError
from tests.data.database_files import random_images
from tests.data.image_files import image_list, labels_at, pair_list, places

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]


def layer(source: Path, batch_size: int = 1, more: str = "", transform: str = "", kind: str = "PIXEL") -> str:
    return (
        'layer { name: "seg" type: "ImageSegData" top: "data" top: "label" top: "dim" '
        f"transform_param {{ {transform} }} image_data_param {{ "
        f'source: "{source.as_posix()}" batch_size: {batch_size} label_type: {kind} {more} }} }}'
    )


def batch(net: Net) -> list[np.ndarray]:
    net.forward()
    return [np.copy(net.blobs[name].data) for name in ("data", "label", "dim")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    image, labels = places(7, 9)
    return pair_list(tmp_path / "pairs", [image], [labels])


def test_padding_is_the_mean_and_ignored(make_net: MakeNet, source: Path) -> None:
    image, labels = places(7, 9)
    transform = "crop_height: 10 crop_width: 8 mean_value: 104.5 mean_value: 3 mean_value: 2 scale: 2"
    data, label, dim = batch(make_net(layer(source, 1, "ignore_label: 21", transform), TEST))
    np.testing.assert_array_equal(data[0, :, :7], 2 * (image[:, :, :8] - np.array([104.5, 3, 2])[:, None, None]))
    np.testing.assert_array_equal(label[0, 0, :7], labels[:, :8])
    assert (data[0, :, 7:] == 0).all() and (label[0, 0, 7:] == 21).all()
    assert dim.tolist() == [[[[7, 8]]]]


@pytest.mark.parametrize("ignore", [-1, 255, 300])
def test_padding_without_a_mean_is_black(make_net: MakeNet, source: Path, ignore: int) -> None:
    data, label, dim = batch(make_net(layer(source, 2, f"ignore_label: {ignore}", "crop_size: 12 mirror: true")))
    assert (data[:, :, 7:] == 0).all() and (label[:, :, 7:] == ignore).all()
    assert dim.tolist() == [[[[7, 9]]]] * 2


def test_scales_are_those_given_and_labels_are_not_interpolated(make_net: MakeNet, source: Path) -> None:
    image, labels = places(7, 9)
    net = make_net(layer(source, 1, transform="scale_factors: 0.5 scale_factors: 1 scale_factors: 1.7"), seed=1)
    seen = set()
    for _ in range(15):
        data, label, dim = batch(net)
        height, width = data.shape[2:]
        np.testing.assert_array_equal(data[0], cv2.resize(image.transpose(1, 2, 0), (width, height)).transpose(2, 0, 1))
        np.testing.assert_array_equal(label[0, 0], cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))
        assert dim.ravel().tolist() == [min(7, height), min(9, width)]
        seen.add((height, width))
    assert seen == {(3, 4), (7, 9), (11, 15)}


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_crops_and_mirroring_move_labels_along(make_net: MakeNet, source: Path, phase: int) -> None:
    net = make_net(layer(source, 3, "shuffle: true", "crop_size: 4 mirror: true"), phase, seed=1)
    batches = [batch(net) for _ in range(9)]
    data, label, dim = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    rows, columns = data[:, 0].astype(np.uint8), data[:, 1].astype(np.uint8)
    np.testing.assert_array_equal(label[:, 0], labels_at(rows, columns))
    assert set(columns[:, 0, 0] > columns[:, 0, 1]) == {True, False}
    starts = set(zip(rows[:, 0, 0].tolist(), columns.min((1, 2)).tolist(), strict=True))
    assert starts == {(1, 2)} if phase == TEST else len(starts) > 5
    assert (dim == 4).all()


def test_new_height_resizes_labels_to_the_nearest_pixel(make_net: MakeNet, source: Path) -> None:
    _, labels = places(7, 9)
    data, label, dim = batch(make_net(layer(source, 1, "new_height: 14 new_width: 18")))
    np.testing.assert_array_equal(label[0, 0], labels.repeat(2, 0).repeat(2, 1))
    assert data.shape == (1, 3, 14, 18) and dim.ravel().tolist() == [14, 18]


def test_one_label_for_an_image(make_net: MakeNet, tmp_path: Path) -> None:
    source = image_list(tmp_path / "images", random_images(2), [3, 0])
    net = make_net(layer(source, 2, transform="crop_size: 7", kind="IMAGE"), TEST)
    _, label, _ = batch(net)
    np.testing.assert_array_equal(label[:, 0, :6], np.array([3, 0])[:, None, None] * np.ones((6, 7)))
    assert (label[:, 0, 6] == 255).all()
    source.write_text(source.read_text().replace(" 3", " 256"))
    with pytest.raises(DataError, match=r"its label is 256. Labels are 0 to 255 where label_type is IMAGE"):
        make_net(layer(source, 2, kind="IMAGE"))


def test_no_labels(make_net: MakeNet, tmp_path: Path) -> None:
    source = image_list(tmp_path / "images", random_images(2))
    source.write_text("".join(f"{line.split()[0]} what follows\n" for line in source.read_text().splitlines()))
    data, label, _ = batch(make_net(layer(source, 2, "ignore_label: -7", kind="NONE")))
    np.testing.assert_array_equal(data, random_images(2))
    assert label.shape == (2, 1, 6, 7) and (label == -7).all()


def test_the_sizes_need_no_top(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source).replace('top: "dim"', ""))
    assert set(net.forward()) == {"data", "label"}


@pytest.mark.parametrize(
    ("more", "transform", "kind", "message"),
    [
        ("", 'mean_file: "mean"', LayerError, "mean_file in transform_param cannot be read here. Remove it"),
        ("", "crop_height: 3", LayerError, "one of crop_height and crop_width is given"),
        ("", "crop_size: 3 crop_height: 3 crop_width: 3", LayerError, "crop_size and crop_height exclude each other"),
        ("", "scale_factors: 1 scale_factors: 0", LayerError, "a factor in scale_factors is not above 0"),
        ("", "scale_factors: 0.1", DataError, "the factor 0.1 in scale_factors makes it 0 x 0. Use larger factors"),
        ("", "crop_size: 8 mean_value: 1 mean_value: 2", DataError, "mean_value is given 2 times, the image has 3"),
        ("new_width: 3", "", LayerError, "one of new_height and new_width is given"),
    ],
)
def test_settings_that_cannot_be(
    make_net: MakeNet, source: Path, more: str, transform: str, kind: type[CaffeError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        make_net(layer(source, 1, more, transform)).forward()
    assert 'layer "seg" (ImageSegData): ' in str(caught.value)
    assert message in str(caught.value)
