"""The DetectionData layer: sizes, places, objects, orders, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TRAIN
from caffe_lite.data.windows.detection_batches import Area
from caffe_lite.errors import CaffeError
from caffe_lite.inspection.check import check as check_file
from caffe_lite.layers.common.anchor_truth import AnchorMap, AnchorRules, truth_of
from tests.data.database_files import random_images
from tests.data.object_files import object_file

cv2 = pytest.importorskip("cv2")

MAPS = (AnchorMap(8, 20, 30), AnchorMap(16, 40, 50))
ANCHORS = " ".join(f"stride: {m.stride} field_w: {m.width} field_h: {m.height}" for m in MAPS)
OBJECTS = [(1, 0, 1, 3, 4, 20, 30), (2, 1, 0, 30, 20, 50, 60), (3, 0, 0, 60, 10, 62, 12)]


def text(source: Path, more: str = "", transform: str = "", batch: int = 1, objects: bool = True) -> str:
    tops = " ".join(f'top: "{name}"' for name in ["data", "t0", "t1", *(["objects"] if objects else [])])
    return (
        f'layer {{ name: "in" type: "DetectionData" {tops} transform_param {{ {transform} }} detection_data_param {{ '
        f'source: "{source.as_posix()}" batch_size: {batch} {ANCHORS} output_gt_boxes: {str(objects).lower()} '
        f"{more} }} }}"
    )


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return random_images(1, (3, height, width), seed=seed)[0]


def one_image(folder: Path, image: np.ndarray, objects=OBJECTS, ignored=()) -> Path:
    return object_file(folder / "images", [(image, objects)], [ignored])


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (width, height)).transpose(2, 0, 1)


def rows_of(net) -> np.ndarray:
    """Return the objects of a batch as a file has them: class, ignore, difficult, corners."""
    rows = net.blobs["objects"].data[:, :, 0, 0]
    return rows[:, [5, 6, 7, 1, 2, 3, 4]]


def check_truth(net, area: Area, objects: np.ndarray, ignored=(), threshold: float = 0.5) -> None:
    regions = np.array(ignored, np.float32).reshape(-1, 4)
    rules = AnchorRules(threshold, 0.4, 0.2)
    wanted = truth_of(list(MAPS), rules, net.blobs["data"].shape[2:], area, np.float32(objects), regions)
    for name, values in zip(("t0", "t1"), wanted, strict=True):
        np.testing.assert_allclose(net.blobs[name].data[0], values, atol=1e-3)
    assert any(values[0].any() for values in wanted)


def test_an_image_as_it_is(make_net, tmp_path) -> None:
    image, ignored = random_image(64, 96), [(70, 30, 95, 63)]
    source = one_image(tmp_path, image, ignored=ignored)
    net = make_net(text(source, "fg_threshold: 0.3 min_gt_width: 4", "mean_value: 10 scale: 0.5"))
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[0], (image.astype(np.float32) - 10) * 0.5)
    objects = np.array(OBJECTS, float)
    objects[2, 1] = 1  # it is 3 pixels wide
    np.testing.assert_array_equal(rows_of(net), objects)
    assert net.blobs["objects"].data[:, 0].ravel().tolist() == [0, 0, 0]
    check_truth(net, Area(0, 0, 96, 64), objects, ignored, 0.3)


def test_images_are_mirrored_by_chance(make_net, tmp_path) -> None:
    image = random_image(64, 96)
    net = make_net(text(one_image(tmp_path, image), transform="mirror: true"), seed=1)
    mirrored = np.array(OBJECTS, float)
    mirrored[:, [3, 5]] = 96 - mirrored[:, [5, 3]]
    seen = []
    for _ in range(12):
        net.forward()
        data = net.blobs["data"].data[0]
        seen.append((data == image[:, :, ::-1]).all())
        assert seen[-1] or (data == image).all()
        np.testing.assert_array_equal(rows_of(net), mirrored if seen[-1] else OBJECTS)
    assert 0 < sum(seen) < 12


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ("resize_width: 70 resize_height: 50", (50, 70)),
        ("resize_ratio: 0.5", (32, 48)),
        ("resize_ratio: 1.25", (80, 120)),
    ],
)
def test_images_are_resized(make_net, tmp_path, more, size) -> None:
    image = random_image(64, 96)
    net = make_net(text(one_image(tmp_path, image), more))
    assert net.blobs["data"].shape == (1, 3, *size)
    assert net.blobs["t1"].shape == (1, 6, *(int(n / 16 + 0.5) for n in size))
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[0], resized(image, *size))
    objects = np.array(OBJECTS) * [1, 1, 1, *[size[1] / 96, size[0] / 64] * 2]
    np.testing.assert_allclose(rows_of(net), objects, rtol=1e-6)
    check_truth(net, Area(0, 0, *size[::-1]), objects)


@pytest.mark.parametrize(("shape", "scale"), [((64, 96), 1.5), ((96, 64), 1.5)])
def test_batches_are_tall_or_wide_as_their_first_image(make_net, tmp_path, shape, scale) -> None:
    """short_size and long_size are rounded to multiples of 32; the rest of a batch is empty."""
    image = random_image(*shape)
    net = make_net(text(one_image(tmp_path, image, OBJECTS[:1]), "short_size: 100 long_size: 200"))
    long = 192
    assert net.blobs["data"].shape[2:] == ((96, long) if shape[0] < shape[1] else (long, 96))
    net.forward()
    height, width = (int(n * scale) for n in shape)
    data = net.blobs["data"].data[0]
    filled = data.any(0)
    top, left = (int(filled.any(axis).argmax()) for axis in (1, 0))
    area = Area(left, top, width, height)
    np.testing.assert_array_equal(data[:, top : top + height, left : left + width], resized(image, height, width))
    assert not data[:, :, : max(0, left)].any() and not data[:, :, left + width :].any()
    assert abs((left if shape[0] < shape[1] else top) - (long - 144) / 2) <= 10
    objects = np.array(OBJECTS[:1]) * [1, 1, 1, *[scale] * 4] + [0, 0, 0, left, top, left, top]
    np.testing.assert_allclose(rows_of(net), objects, rtol=1e-5)
    check_truth(net, area, objects)


@pytest.mark.parametrize("things", [[(1, 0, 1, 70, 50, 90, 80)], []])
def test_a_part_of_a_large_image_shows_an_object(make_net, tmp_path, things) -> None:
    image = random_image(128, 160)
    net = make_net(text(one_image(tmp_path, image, things), "crop_width: 64 crop_height: 48"), seed=1)
    places = set()
    for _ in range(10):
        net.forward()
        part = net.blobs["data"].data[0]
        found = [
            (x, y)
            for x in range(160 - 63)
            for y in range(128 - 47)
            if (image[:, y, x] == part[:, 0, 0]).all() and (image[:, y : y + 48, x : x + 64] == part).all()
        ]
        ((x, y),) = found
        places.add((x, y))
        if things:
            assert abs(x - (80 - 32)) <= 10 and abs(y - (65 - 24)) <= 10
            np.testing.assert_array_equal(rows_of(net), np.array(things) - [0, 0, 0, x, y, x, y])
        else:
            assert net.blobs["objects"].data.ravel().tolist() == [-1] * 8
    assert len(places) > 5


@pytest.mark.parametrize("factor", [0.5, 1.4, 2.0])
def test_a_second_scale(make_net, tmp_path, factor) -> None:
    """Where an image grows much it is cut first; the pixels and the objects keep together."""
    rng = np.random.default_rng(0)
    image = np.zeros((3, 96, 128), np.uint8)
    image[:, 30:50, 40:70] = 200
    noise = rng.integers(0, 20, image.shape).astype(np.uint8)
    source = one_image(tmp_path, image + noise, [(1, 0, 0, 40, 30, 69, 49)])
    more = f"low_scale_ratio: {factor} high_scale_ratio: {factor} multiscale_prob: 1 crop_width: 128 crop_height: 96"
    net = make_net(text(source, more), seed=3)
    for _ in range(4):
        net.forward()
        bright = net.blobs["data"].data[0].mean(0) > 110
        rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
        x1, y1, x2, y2 = rows_of(net)[0, 3:]
        for seen, start, end, side in ((columns, x1, x2, 30), (rows, y1, y2, 20)):
            assert abs(seen[0] - start) <= 2 and abs(seen[-1] - end) <= 2
            assert abs(len(seen) - side * factor) <= 2


def test_objects_of_a_wanted_size(make_net, tmp_path) -> None:
    source = one_image(tmp_path, random_image(96, 128), [(1, 0, 0, 40, 30, 79, 49), (1, 0, 0, 0, 0, 79, 79)])
    more = "min_scale: 20 max_scale: 40 multiscale_prob: 1 min_whaspect: 0.5 max_whaspect: 2"
    net = make_net(text(source, more), seed=3)
    aspects = []
    for _ in range(10):
        net.forward()
        sizes = rows_of(net)[:, 5:] - rows_of(net)[:, 3:5]
        scale = np.sqrt(sizes.prod(1))
        assert any(18 < one < 41 for one in scale)
        aspects.append(sizes[0, 0] / sizes[0, 1] / (39 / 19))
    assert 0.49 < min(aspects) < 0.8 and 1.2 < max(aspects) < 2.1


def test_the_probability_of_a_second_scale(make_net, tmp_path) -> None:
    image = random_image(64, 96)
    more = "low_scale_ratio: 0.5 high_scale_ratio: 0.5 multiscale_prob: 0.25"
    net = make_net(text(one_image(tmp_path, image), more), seed=3)
    same = 0
    for _ in range(40):
        net.forward()
        same += bool((net.blobs["data"].data[0] == image).all())
    assert 22 <= same <= 37


def numbered(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    images = [(np.full((3, *size), i, np.uint8), [(1, 0, 0, 2, 2, 9, 9)]) for i, size in enumerate(sizes)]
    return object_file(folder / "images", images)


def order_of(net, count: int) -> list[int]:
    taken = []
    for _ in range(count):
        net.forward()
        taken.append(int(net.blobs["data"].data[0, 0, 5, 5]))
    return taken


SIZES = [(32, 32), (48, 32), (32, 48), (32, 64), (64, 32), (32, 80), (40, 32)]


@pytest.mark.parametrize("shuffle", [None, "random", "random_aspect", "random_mix_aspect"])
def test_orders(make_net, tmp_path, shuffle) -> None:
    more = f'shuffle: "{shuffle}" mix_group_size: 2' if shuffle else ""
    net = make_net(text(numbered(tmp_path, SIZES), more), seed=2)
    rounds = [order_of(net, len(SIZES)) for _ in range(4)]
    assert all(sorted(one) == list(range(len(SIZES))) for one in rounds)
    assert (rounds[0] != rounds[1]) == (rounds[1] != rounds[2]) == bool(shuffle)
    if shuffle is None:
        assert rounds[0] == list(range(len(SIZES)))
    for one in rounds:
        tall = "".join("t" if SIZES[i][0] >= SIZES[i][1] else "w" for i in one)
        if shuffle == "random_aspect":
            assert tall in ("ttttwww", "wwwtttt")
        elif shuffle == "random_mix_aspect":
            assert tall in ("ttwwttw", "wwttwtt")


def test_a_resumed_run_goes_on(make_net, tmp_path) -> None:
    source = text(numbered(tmp_path, SIZES), 'shuffle: "random_aspect"', "mirror: true")
    net, other = make_net(source, seed=2), make_net(source, seed=5)
    order_of(net, 3)
    state = net.nodes[0].layer.state()
    other.nodes[0].layer.restore_state(state)
    assert order_of(net, 12) == order_of(other, 12)


def test_batches_of_several_images(make_net, tmp_path) -> None:
    images = [random_image(64, 96), random_image(40, 50, 1)]
    objects = [OBJECTS[:1], [(2, 0, 0, 1, 2, 30, 30)]]
    source = object_file(tmp_path / "images", list(zip(images, objects, strict=True)))
    net = make_net(text(source, "cache_images: true", batch=2))
    for _ in range(2):
        net.forward()
        data, rows = net.blobs["data"].data, net.blobs["objects"].data[:, :, 0, 0]
        np.testing.assert_array_equal(data[0], images[0])
        assert data.shape == (2, 3, 64, 96)
        assert net.blobs["t0"].shape == (2, 6, 8, 12)
        assert rows[:, 0].tolist() == [0, 1]
        x, y = (rows[1, 1:3] - [1, 2]).astype(int)
        np.testing.assert_array_equal(data[1, :, y : y + 40, x : x + 50], images[1])
        assert data[1].any(0).sum() <= 40 * 50


def test_colours_are_distorted(make_net, tmp_path) -> None:
    image = np.full((3, 32, 32), 100, np.uint8)
    more = "distort_param { brightness_prob: 1 brightness_delta: 32 }"
    net = make_net(text(one_image(tmp_path, image), more), seed=2)
    values = []
    for _ in range(8):
        net.forward()
        values.append(float(net.blobs["data"].data.mean()))
    assert len(set(values)) > 4 and 68 <= min(values) < 95 and 105 < max(values) <= 132


def test_a_template_ratio_scales_batches(make_net, tmp_path) -> None:
    more = "short_size: 64 long_size: 96 template_ratio: 1 template_ratio: 2"
    net = make_net(text(one_image(tmp_path, random_image(64, 96)), more), seed=2)
    shapes = set()
    for _ in range(10):
        net.forward()
        shapes.add(net.blobs["data"].shape[2:])
    assert shapes == {(64, 96), (128, 192)}


def test_a_check_needs_no_file(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    for more in ("short_size: 600 long_size: 1000", "crop_width: 64 crop_height: 32"):
        path.write_text(text(Path("nowhere.txt"), more))
        assert [problem for problem in check_file(path).problems if "nowhere" not in str(problem)] == []


@pytest.mark.parametrize(
    ("more", "transform", "what"),
    [
        ("field_w: 3", "", "stride, field_w and field_h have 2, 3 and 2 values"),
        ("coord_num: 5", "", "coord_num is 5"),
        ("fg_threshold: 0", "", "fg_threshold is 0"),
        ("shuffle: 'all'", "", "shuffle is 'all'. Use random, random_aspect or random_mix_aspect"),
        ("mix_group_size: 0", "", "mix_group_size is 0"),
        ("resize_width: 30", "", "resize_width is given alone"),
        ("crop_width: 0 crop_height: 10", "", "crop_width or crop_height is 0"),
        ("short_size: 30 long_size: 20", "", "short_size is 30, long_size 20"),
        ("resize_ratio: 2 short_size: 10 long_size: 20", "", "resize_ratio and short_size are both given"),
        ("min_scale: 1 max_scale: 2 low_scale_ratio: 1 high_scale_ratio: 2", "", "are both given"),
        ("stride: 4 field_w: 3 field_h: 3", "", "it has 4 tops, and delivers 5"),
        ("distort_param { hue_delta: -1 }", "", "hue_delta"),
        ("", "mean_file: 'x'", "transform_param holds mean_file"),
    ],
)
def test_errors(make_net, tmp_path, more, transform, what) -> None:
    source = one_image(tmp_path, random_image(32, 32), [])
    with pytest.raises(CaffeError) as error:
        make_net(text(source, more, transform), TRAIN)
    assert what in str(error.value)
