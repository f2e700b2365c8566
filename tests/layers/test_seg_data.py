"""The SegData layer: random scales, and crops of multiples of a stride."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError, DataError, LayerError
from tests.data.image_files import labels_at, pair_list, places

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]


def layer(source: Path, transform: str = "", more: str = "") -> str:
    return (
        f'layer {{ name: "seg" type: "SegData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'seg_data_param {{ source: "{source.name}" root_dir: "{source.parent.as_posix()}/" {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    image, labels = places(11, 15)
    path = pair_list(tmp_path / "pairs", [image], [labels])
    path.write_text("im0.png lab0.png\n")
    monkeypatch.chdir(path.parent)
    return path


def test_crops_of_multiples_of_the_stride(make_net: MakeNet, source: Path) -> None:
    image, _ = places(11, 15)
    net = make_net(layer(source, "stride: 4 mirror: true mean_value: 1 mean_value: 1 mean_value: 1"), TEST, seed=1)
    starts, mirrored = set(), set()
    for _ in range(20):
        data, label = batch(net)
        assert data.shape == (1, 3, 8, 12) and label.shape == (1, 1, 8, 12)
        rows, columns = (data[0, [0, 2]] + 1).astype(np.uint8)
        np.testing.assert_array_equal(label[0, 0], labels_at(rows, columns))
        starts.add((rows[0, 0], columns.min()))
        mirrored.add(columns[0, 0] > columns[0, 1])
    assert mirrored == {True, False}
    assert {row for row, _ in starts} == set(range(4)) and {column for _, column in starts} == set(range(4))
    np.testing.assert_array_equal(batch(make_net(layer(source)))[0][0], image)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [("upper_size: 7", (7, 7)), ("upper_height: 5 upper_width: 99", (5, 14)), ("upper_size: 99", (10, 14))],
)
def test_limits(make_net: MakeNet, source: Path, limits: str, expected: tuple[int, int]) -> None:
    assert batch(make_net(layer(source, f"stride: 2 {limits}")))[0].shape[2:] == expected


def test_scales(make_net: MakeNet, source: Path) -> None:
    """Each factor is the smallest and some thousandths; the size is rounded, and labels are not interpolated."""
    image, labels = places(11, 15)
    net = make_net(layer(source, "scale_ratios: 0.5 scale_ratios: 1.5"), seed=2)
    sizes = set()
    for _ in range(12):
        data, label = batch(net)
        size = data.shape[:1:-1]
        np.testing.assert_array_equal(data[0], cv2.resize(image.transpose(1, 2, 0), size).transpose(2, 0, 1))
        np.testing.assert_array_equal(label[0, 0], cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        sizes.add(size)
    possible = {(int(15 * f + 0.5), int(11 * f + 0.5)) for f in 0.5 + np.arange(1001) / 1000}
    assert sizes <= possible and len(sizes) > 6


@pytest.mark.parametrize("balance", [False, True])
def test_balance_draws_again_while_one_label_prevails(make_net: MakeNet, tmp_path: Path, balance: bool) -> None:
    """Of a strip of which an end is of class 1, one crop in four has more than a fifth of each class."""
    labels = np.zeros((1, 16), np.uint8)
    labels[:, 12:] = 1
    path = pair_list(tmp_path / "strip", [np.zeros((3, 1, 16), np.uint8)], [labels])
    path.write_text("im0.png lab0.png\n")
    text = layer(path, "upper_height: 1 upper_width: 4", f"balance: {str(balance).lower()}")
    net = make_net(text.replace('"list.txt"', f'"{path.as_posix()}"'), seed=1)
    mixed = [0.2 <= batch(net)[1].mean() <= 0.8 for _ in range(40)]
    assert sum(mixed) > 30 if balance else sum(mixed) < 20


@pytest.mark.parametrize(
    ("transform", "kind", "message"),
    [
        ("scale_ratios: 1", LayerError, "scale_ratios are [1.0]. Give the smallest and the largest factor"),
        ("scale_ratios: 2 scale_ratios: 1", LayerError, "scale_ratios are [2.0, 1.0]. Give the smallest"),
        ("scale_ratios: 0 scale_ratios: 1", LayerError, "both above 0, or none"),
        ("upper_height: 3", LayerError, "one of upper_height and upper_width is given"),
        ("stride: 0", LayerError, "stride is 0. Use 1 or more"),
        ("crop_size: 3", LayerError, "crop_size in transform_param cannot be read here"),
        ("stride: 16", DataError, "the image is 11 x 15, and stride is 16. Make stride in transform_param smaller"),
    ],
)
def test_settings_that_cannot_be(
    make_net: MakeNet, source: Path, transform: str, kind: type[CaffeError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        make_net(layer(source, transform))
    assert 'layer "seg" (SegData): ' in str(caught.value)
    assert message in str(caught.value)


def test_a_scale_that_leaves_nothing(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, "scale_ratios: 0.01 scale_ratios: 0.01"))
    with pytest.raises(DataError, match="the image is 0 x 0, and stride is 1"):
        net.forward()


def test_a_source_is_needed(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"there is no source. Give seg_data_param a source"):
        make_net('layer { name: "seg" type: "SegData" top: "data" top: "label" }')
