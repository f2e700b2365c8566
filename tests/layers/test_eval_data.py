"""The EvalData layer: sizes, objects, and faulty files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import CaffeError, DataError
from caffe_lite.inspection.check import check as check_file
from tests.data.database_files import random_images
from tests.data.object_files import object_file

cv2 = pytest.importorskip("cv2")


def text(source: Path, more: str = "batch_size: 1", transform: str = "", tops: int = 3) -> str:
    names = " ".join(f'top: "{name}"' for name in ("data", "objects", "sizes")[:tops])
    return (
        f'layer {{ name: "in" type: "EvalData" {names} transform_param {{ {transform} }} '
        f'eval_data_param {{ source: "{source.as_posix()}" {more} }} }}'
    )


def images_of(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [random_images(1, (3, *size), seed=i)[0] for i, size in enumerate(sizes)]


def by_hand(image: np.ndarray, height: int, width: int) -> np.ndarray:
    resized = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (width, height))
    return resized.transpose(2, 0, 1).astype(np.float32)


OBJECTS = [[(1, 0, 1, 3, 4, 20, 30), (2, 1, 0, 0, 0, 7, 8)], [], [(3, 0, 0, 1, 2, 3, 4)]]


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ("", [(64, 96), (96, 64), (32, 32)]),
        ("short_size: 100 long_size: 144", [(96, 128), (160, 96), (96, 96)]),
        ("resize_width: 70 resize_height: 50", [(64, 64)] * 3),
    ],
)
@pytest.mark.parametrize("tops", [2, 3])
def test_images_and_objects_in_order(make_net, tmp_path, more, sizes, tops) -> None:
    images = images_of((64, 96), (100, 60), (20, 20))
    source = object_file(tmp_path / "images", list(zip(images, OBJECTS, strict=True)))
    net = make_net(
        text(source, f"batch_size: 1 {more}", "mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5", tops), TEST
    )
    mean = np.array([10, 20, 30])[:, None, None]
    for i in (0, 1, 2, 0, 1):
        net.forward()
        height, width = sizes[i]
        if i == 0 and "short" in more:
            height, width = 96, 144 // 32 * 32 + 32  # 150 is cut to 144, 4.5 * 32
        np.testing.assert_array_equal(net.blobs["data"].data[0], (by_hand(images[i], height, width) - mean) * 0.5)
        if tops == 3:
            assert net.blobs["sizes"].data.reshape(-1).tolist() == [height, width]
        x, y = width / images[i].shape[2], height / images[i].shape[1]
        rows = [[0, x1 * x, y1 * y, x2 * x, y2 * y, c, ig, d] for c, ig, d, x1, y1, x2, y2 in OBJECTS[i]]
        rows = rows or [[-1] * 8]
        assert net.blobs["objects"].shape == (len(rows), 8, 1, 1)
        np.testing.assert_allclose(net.blobs["objects"].data[:, :, 0, 0], rows, rtol=1e-6)


def test_a_batch_of_several_images(make_net, tmp_path) -> None:
    images = images_of((64, 96), (100, 60), (20, 20))
    source = object_file(tmp_path / "images", list(zip(images, OBJECTS, strict=True)), [[(1, 2, 3, 4)], [], []])
    net = make_net(text(source, "batch_size: 2 resize_width: 64 resize_height: 32"), TEST)
    net.forward()
    assert net.blobs["data"].shape == (2, 3, 32, 64)
    assert net.blobs["objects"].data[:, 0].ravel().tolist() == [0, 0]
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[1], by_hand(images[0], 32, 64))
    assert net.blobs["objects"].data[:, 0].ravel().tolist() == [0, 1, 1]
    assert net.blobs["objects"].data[:, 5].ravel().tolist() == [3, 1, 2]


def test_a_resumed_run_goes_on(make_net, tmp_path) -> None:
    source = object_file(tmp_path / "images", list(zip(images_of((32, 32), (64, 64)), OBJECTS[:2], strict=True)))
    net = make_net(text(source), TEST)
    net.forward()
    state = net.nodes[0].layer.state()
    other = make_net(text(source), TEST)
    other.nodes[0].layer.restore_state(state)
    other.forward()
    assert other.blobs["data"].shape == (1, 3, 64, 64)


def test_a_check_needs_no_file(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text(Path("nowhere.txt"), "batch_size: 3 resize_width: 64 resize_height: 96"))
    assert [problem for problem in check_file(path).problems if "nowhere" not in str(problem)] == []


GOOD = ["# 0", "IMAGE", "3", "32", "32", "1", "1 0 0 1 2 3 4", "0"]


@pytest.mark.parametrize(
    ("line", "new", "what"),
    [
        (0, "# 1", "objects.txt:1:1: it is '# 1' where '# 0' should begin an image"),
        (3, "tall", "'tall' stands where height should be"),
        (5, "2", "objects.txt:8:1: '0' is no object"),
        (6, "1 0 1 2 3 4", "objects.txt:7:1: '1 0 1 2 3 4' is no object. Seven numbers are needed: class ignore"),
        (6, "0 0 0 1 2 3 4", "is no object"),
        (7, "2", "ends behind this line, with 1 of 2 regions"),
    ],
)
def test_faulty_files(make_net, tmp_path, line, new, what) -> None:
    source = object_file(tmp_path / "images", [(images_of((32, 32))[0], OBJECTS[2])])
    lines = list(GOOD)
    lines[line] = new
    lines.append("0" if line == 5 else "1 2 3 4")
    source.write_text("\n".join(lines).replace("IMAGE", (tmp_path / "images" / "im0.png").as_posix()))
    with pytest.raises(DataError) as error:
        make_net(text(source), TEST)
    assert what in str(error.value).replace(', layer "in" (EvalData)', "")


@pytest.mark.parametrize(
    ("more", "transform", "what"),
    [
        ("batch_size: 0", "", "batch_size is 0"),
        ("batch_size: 2", "", "batch_size is 2, and images may have several sizes"),
        ("batch_size: 1", "mean_value: 1 mean_value: 2", "mean_value is given 2 times"),
        ("batch_size: 1 short_size: 20", "", "short_size is given alone"),
        ("batch_size: 1 resize_width: 0 resize_height: 9", "", "resize_width or resize_height is 0"),
        ("batch_size: 1", "crop_size: 10", "transform_param holds crop_size"),
    ],
)
def test_errors(make_net, tmp_path, more, transform, what) -> None:
    source = object_file(tmp_path / "images", [(images_of((32, 32))[0], OBJECTS[2])])
    with pytest.raises(CaffeError) as error:
        make_net(text(source, more, transform), TEST)
    assert what in str(error.value)


def test_a_missing_image(make_net, tmp_path) -> None:
    source = object_file(tmp_path / "images", [(images_of((32, 32))[0], OBJECTS[2])])
    (tmp_path / "images" / "im0.png").unlink()
    net = make_net(text(source), TEST)
    with pytest.raises(DataError, match=r"objects.txt:2:1, .*: the image '.*im0.png' cannot be used: it is not there"):
        net.forward()
