"""AnnotatedData: rows of real databases by hand; boxes that stay around the pixels that they belong to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.data.databases.writing import new_database
from caffe_lite.errors import DataError, LayerError, UnknownField
from caffe_lite.proto import caffe_pb2
from tests.data.annotated_files import Object, annotated, annotated_lmdb, records
from tests.data.database_files import image_lmdb, random_images, write_lmdb

pytest.importorskip("cv2")

MakeNet = Callable[..., Net]
OBJECTS: list[list[Object]] = [
    [(5, 0, 0.125, 0.25, 0.5, 0.75, 0), (2, 0, 0, 0, 1, 1, 1), (5, 1, 0.5, 0.5, 0.75, 1, 0)],
    [],
    [(1, 0, 0.25, 0.25, 0.5, 0.5, 0)],
]
# In the order of their groups
ROWS = np.array(
    [
        [0, 5, 0, 0.125, 0.25, 0.5, 0.75, 0],
        [0, 5, 1, 0.5, 0.5, 0.75, 1, 0],
        [0, 2, 0, 0, 0, 1, 1, 1],
        [2, 1, 0, 0.25, 0.25, 0.5, 0.5, 0],
    ]
)
IMAGES = random_images(3, (3, 8, 16))


def layer(
    source: Path,
    batch_size: int = 3,
    transform: str = "",
    more: str = "",
    backend: str = "LMDB",
    tops: str = 'top: "data" top: "label"',
) -> str:
    return (
        f'layer {{ name: "objects" type: "AnnotatedData" {tops} '
        f"transform_param {{ {transform} }} annotated_data_param {{ {more} }} "
        f'data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} backend: {backend} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return annotated_lmdb(tmp_path / "lmdb", IMAGES, OBJECTS)


@pytest.mark.parametrize("encoded", [False, True])
def test_images_and_rows(make_net: MakeNet, tmp_path: Path, encoded: bool) -> None:
    net = make_net(layer(annotated_lmdb(tmp_path / "lmdb", IMAGES, OBJECTS, encoded)))
    assert net.blobs["data"].shape == (3, 3, 8, 16)
    assert net.blobs["label"].shape == (1, 1, 3, 8)
    for _ in range(3):
        data, label = batch(net)
        assert (data == IMAGES).all()
        assert label.shape == (1, 1, 4, 8)
        assert (label == ROWS).all()


def test_a_batch_without_objects_has_one_row_of_minus_1(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, 1))
    labels = [batch(net)[1] for _ in range(3)]
    assert (labels[0] == ROWS[:3]).all()
    assert (labels[1] == -np.ones((1, 1, 1, 8))).all()
    assert (labels[2][0, 0] == [0, *ROWS[3, 1:]]).all()


def test_a_leveldb(make_net: MakeNet, tmp_path: Path) -> None:
    pytest.importorskip("plyvel")
    with new_database(str(tmp_path / "leveldb"), "leveldb") as put:
        for record in records(map(annotated, IMAGES, OBJECTS)):
            put(*record)
    data, label = batch(make_net(layer(tmp_path / "leveldb", backend="LEVELDB")))
    assert (data == IMAGES).all()
    assert (label == ROWS).all()


def test_only_labels(make_net: MakeNet, tmp_path: Path) -> None:
    found = [annotated(image, []) for image in IMAGES]
    for number, record in enumerate(found):
        record.ClearField("type")
        record.datum.label = 7 + number
    source = write_lmdb(tmp_path / "lmdb", records(found))
    net = make_net(layer(source))
    assert net.blobs["label"].shape == (3,)
    assert batch(net)[1].tolist() == [7, 8, 9]
    assert batch(make_net(layer(source, more="anno_type: BBOX")))[1].tolist() == [[[[-1] * 8]]]


def test_the_label_top_may_be_left_out(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, tops='top: "data"'))
    net.forward()
    assert list(net.blobs) == ["data"]


def test_mirrored_images_have_mirrored_boxes(make_net: MakeNet, tmp_path: Path) -> None:
    net = make_net(layer(annotated_lmdb(tmp_path / "lmdb", IMAGES[:1], OBJECTS[:1]), 1, "mirror: true"))
    mirrored = ROWS[:3].copy()
    mirrored[:, [3, 5]] = 1 - ROWS[:3][:, [5, 3]]
    seen = [0, 0]
    for _ in range(30):
        data, label = batch(net)
        flipped = bool((data[0] == IMAGES[0, :, :, ::-1]).all())
        assert (data[0] == (IMAGES[0, :, :, ::-1] if flipped else IMAGES[0])).all()
        assert (label[0, 0] == (mirrored if flipped else ROWS[:3])).all()
        seen[flipped] += 1
    assert min(seen) > 5


def test_the_central_crop(make_net: MakeNet, tmp_path: Path) -> None:
    """Of an image of 8 x 16, rows 2 to 6 and columns 6 to 10."""
    source = annotated_lmdb(tmp_path / "lmdb", IMAGES[:1], OBJECTS[:1])
    net = make_net(layer(source, 1, "crop_h: 4 crop_w: 4 emit_constraint { emit_type: CENTER }"), TEST)
    data, label = batch(net)
    assert (data[0] == IMAGES[0, :, 2:6, 6:10]).all()
    # The first object's centre is left of the crop; the second's is at x = 10, its border; the third is everywhere.
    assert label[0, 0].tolist() == [[0, 5, 1, 0.5, 0.5, 1, 1, 0], [0, 2, 0, 0, 0, 1, 1, 1]]


def test_an_image_fitted_by_its_small_side(make_net: MakeNet, source: Path) -> None:
    fit = "resize_param { height: 4 width: 4 resize_mode: FIT_SMALL_SIZE %s }"
    data, label = batch(make_net(layer(source, 1, fit % "")))
    assert data.shape == (1, 3, 4, 8)
    assert (label == ROWS[:3]).all()
    _, label = batch(make_net(layer(source, 1, fit % "height_scale: 2 width_scale: 4")))
    assert (label[0, 0, :, 3:7] == 2 * ROWS[:3, 3:7]).all()
    with pytest.raises(LayerError, match="batch_size is 3, and FIT_SMALL_SIZE gives images of different sizes"):
        make_net(layer(source, 3, fit % ""))


FULL = """
    mirror: true mean_value: 104 mean_value: 117 mean_value: 123
    resize_param { height: 60 width: 60 resize_mode: WARP interp_mode: LINEAR interp_mode: AREA interp_mode: CUBIC }
    emit_constraint { emit_type: CENTER }
    distort_param { brightness_prob: 0.5 brightness_delta: 32 contrast_prob: 0.5 contrast_lower: 0.5
        contrast_upper: 1.5 hue_prob: 0.5 hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.5
        saturation_upper: 1.5 }
    expand_param { prob: 0.5 max_expand_ratio: 3 }
"""
SAMPLERS = """
    batch_sampler { max_sample: 1 max_trials: 1 }
    batch_sampler { max_sample: 1 max_trials: 50 sampler { min_scale: 0.3 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
        sample_constraint { min_jaccard_overlap: 0.3 } }
"""


def test_boxes_stay_around_their_objects_through_every_step(make_net: MakeNet, tmp_path: Path) -> None:
    """A white rectangle on black: after all steps, what is bright is where the box says, to a pixel or so."""
    image = np.zeros((3, 240, 360), np.uint8)
    image[:, 60:180, 90:270] = 255
    source = annotated_lmdb(tmp_path / "lmdb", [image], [[(1, 0, 0.25, 0.25, 0.75, 0.75, 0)]], encoded=True)
    transform = FULL.replace("brightness_prob: 0.5", "brightness_prob: 0").replace("ratio: 3", "ratio: 2")
    transform = transform.replace("mean_value: 104 mean_value: 117 mean_value: 123", "mean_value: 0")
    net = make_net(layer(source, 1, transform, SAMPLERS), seed=1)
    sizes = []
    for _ in range(60):
        data, label = batch(net)
        assert label.shape == (1, 1, 1, 8)
        if label[0, 0, 0, 0] == -1:
            continue
        rows, columns = np.nonzero(data[0].max(0) > 60)
        box = label[0, 0, 0, 3:7] * 60
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, expected, atol=2)
        sizes.append((box[2] - box[0]) * (box[3] - box[1]) / 3600)
    assert len(sizes) > 40
    assert min(sizes) < 0.15
    assert max(sizes) > 0.4


def test_the_threads_give_the_batches_of_one(
    make_net: MakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, objects = random_images(6, (3, 40, 50)), [OBJECTS[0]] * 6
    text = layer(annotated_lmdb(tmp_path / "lmdb", images, objects), 3, FULL, SAMPLERS)
    runs = []
    for heavy in (1, 2**40):
        monkeypatch.setattr("caffe_lite.data.batches.HEAVY", heavy)
        net = make_net(text, seed=3)
        runs.append([batch(net) for _ in range(4)])
    for one, other in zip(*runs, strict=True):
        assert (one[0] == other[0]).all()
        assert one[1].tolist() == other[1].tolist()


def test_settings_that_cannot_work(make_net: MakeNet, source: Path) -> None:
    for text, message in [
        (layer(source, 0), "batch_size is 0"),
        (layer(source, more="anno_type: LANE"), "anno_type is LANE. Only boxes, BBOX, can be read"),
        (layer(source, more="difficult_label_warmup: true"), "difficult_label_warmup is set"),
        (layer(source, tops=THREE, more="single_class: false"), "there is no label_map_file"),
        (layer(source, tops=THREE, more="seg_scales: 0"), "seg_scales is 0"),
        (layer(source, tops=THREE, transform="crop_size: 4"), "the masks of the third top cannot follow"),
        (layer(source, more="yolo_data_type: 2"), "yolo_data_type is 2"),
        (layer(source, more="yolo_data_jitter: 1"), "yolo_data_jitter is 1"),
        (layer(source, transform="resize_param { height: 5 width: 5 }" * 2), "the prob of all resize_param are 2"),
        (
            layer(source, transform="resize_param { height: 5 width: 5 prob: 0.5 } resize_param { prob: 0.5 }"),
            "height and width in resize_param are 0 and 0",
        ),
        (layer(source, more="batch_sampler { sampler { min_scale: 0 } }"), "a sampler draws scales from 0 to 1"),
        (layer(source, transform="resize_param { height: 5 }"), "height and width in resize_param are 5 and 0"),
        (layer(source, transform="crop_h: 5"), "one of crop_h and crop_w is given"),
    ]:
        with pytest.raises(LayerError) as caught:
            make_net(text)
        assert message in str(caught.value)
        assert 'layer "objects" (AnnotatedData)' in str(caught.value)


@pytest.mark.parametrize("difficult", [True, False])
def test_lists_in_the_form_of_yolo(make_net: MakeNet, source: Path, difficult: bool) -> None:
    more = f"yolo_data_type: 1 yolo_data_jitter: 0 train_diffcult: {str(difficult).lower()}"
    data, label = batch(make_net(layer(source, more=more)))
    wanted = np.zeros((3, 1, 300, 5))
    wanted[0, 0, :2] = [[4, 0.3125, 0.5, 0.375, 0.5], [4, 0.625, 0.75, 0.25, 0.5]]
    if difficult:
        wanted[0, 0, 2] = [1, 0.5, 0.5, 1, 1]
    wanted[2, 0, 0] = [0, 0.375, 0.375, 0.25, 0.25]
    assert (data == IMAGES).all()
    np.testing.assert_array_equal(label, wanted)


def test_more_objects_than_a_list_has_rows(make_net: MakeNet, tmp_path: Path) -> None:
    crowd = [[(1 + i % 5, i, 0, 0, 0.5, 0.5 + i / 1000, 0) for i in range(310)]]
    source = annotated_lmdb(tmp_path / "lmdb", IMAGES[:1], crowd)
    _, label = batch(make_net(layer(source, 1, more="yolo_data_type: 1 yolo_data_jitter: 0")))
    assert label.shape == (1, 1, 300, 5) and (label[..., 3:] > 0).all()


@pytest.mark.parametrize(("more", "least"), [("yolo_data_type: 1", 0.7), ("yolo_data_jitter: 0.6", 0.4)])
def test_jitter(make_net: MakeNet, tmp_path: Path, more: str, least: float) -> None:
    """Pixels tell their place, so that they tell which part of the image was cut out, and where its object is."""
    y, x = np.mgrid[:40, :80]
    image = np.stack([x * 3, y * 6, x * 0])[None].astype(np.uint8)
    source = annotated_lmdb(tmp_path / "lmdb", image, [[(1, 0, 0.25, 0.25, 0.75, 0.5, 0)]])
    net = make_net(layer(source, 200, "resize_param { height: 40 width: 80 interp_mode: NEAREST }", more))
    data, label = batch(net)
    left, right = (data[:, 0, 0, i] / 240 for i in (0, -1))
    top, bottom = (data[:, 1, i, 0] / 240 for i in (0, -1))
    width, height = right - left + 1 / 80, bottom - top + 1 / 40
    whole = (width > 0.99) & (height > 0.99)
    assert 20 <= whole.sum() <= 65 and min(width.min(), height.min()) > least - 0.04
    assert width.min() < least + 0.05 and height.min() < least + 0.06
    boxes = label.reshape(200, -1, 5)[:, 0, 1:] if "type" in more else None
    if boxes is not None:
        np.testing.assert_allclose(boxes[:, 0] * width + left, 0.5, atol=0.04)
        np.testing.assert_allclose(boxes[:, 1] * height + top, 0.375, atol=0.06)


SIZES = "resize_param { height: 8 width: 16 prob: 0.5 } resize_param { height: 4 width: 6 prob: 0.5 }"


def test_several_sizes(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, transform=SIZES))
    shapes = [batch(net)[0].shape for _ in range(200)]
    turns = [set(shapes[i : i + 10]) for i in range(0, 200, 10)]
    assert all(len(turn) == 1 for turn in turns)
    assert set.union(*turns) == {(3, 3, 8, 16), (3, 3, 4, 6)}


def test_several_sizes_go_on_from_a_snapshot(make_net: MakeNet, source: Path) -> None:
    net, other = make_net(layer(source, transform=SIZES), seed=1), make_net(layer(source, transform=SIZES), seed=2)
    for _ in range(13):
        batch(net)
    other.restore_state(net.state())
    for _ in range(30):
        (data, label), (again, same) = batch(net), batch(other)
        np.testing.assert_array_equal(again, data)
        np.testing.assert_array_equal(same, label)


def test_other_layers_refuse_several_sizes(make_net: MakeNet, tmp_path: Path) -> None:
    source = image_lmdb(tmp_path / "lmdb", IMAGES)
    with pytest.raises(UnknownField, match="further_resize_param is a field of eric612/MobileNet-YOLO"):
        make_net(
            f'layer {{ name: "data" type: "Data" top: "data" transform_param {{ {SIZES} }} '
            f'data_param {{ source: "{source.as_posix()}" batch_size: 3 backend: LMDB }} }}'
        )


THREE = 'top: "data" top: "label" top: "masks"'
LABEL_MAP = """
item { name: "nothing" label: 0 label_id: 0 }
item { name: "road" label: 1 label_id: 2 }
item { name: "car" label: 2 label_id: 1 }
item { name: "bus" label: 3 label_id: 1 }
"""


@pytest.fixture
def masked(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Make a database of two images, each with a mask of the values 0 to 3, and a label map beside it."""
    cv2 = pytest.importorskip("cv2")
    masks = np.random.default_rng(0).integers(0, 4, (2, 8, 16)).astype(np.uint8)
    made = []
    for image, objects, mask in zip(IMAGES, OBJECTS, masks, strict=False):
        record = annotated(image, objects, encoded=True)
        record.type = caffe_pb2.AnnotatedDatum.BBOXandSeg
        record.datum.seg_label = cv2.imencode(".png", mask)[1].tobytes()
        made.append(record)
    (tmp_path / "map.prototxt").write_text(LABEL_MAP)
    return write_lmdb(tmp_path / "lmdb", records(made)), masks


def by_fours(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:-2], maps.shape[-2] // 2, 2, maps.shape[-1] // 2, 2).mean((-3, -1))


@pytest.mark.parametrize("size", ["seg_scales: 2", "seg_resize_height: 4 seg_resize_width: 8"])
def test_maps_of_classes(make_net: MakeNet, masked: tuple[Path, np.ndarray], size: str) -> None:
    source, masks = masked
    label_map = (source.parent / "map.prototxt").as_posix()
    more = f'{size} single_class: false label_map_file: "{label_map}" yolo_data_type: 1 yolo_data_jitter: 0'
    net = make_net(layer(source, 2, more=more, tops=THREE))
    assert net.blobs["masks"].shape == (2, 2, 4, 8)
    net.forward()
    classes = np.stack([(masks == 2) | (masks == 3), masks == 1], 1)
    np.testing.assert_allclose(net.blobs["masks"].data, by_fours(classes), atol=2 / 255)


def test_a_map_of_one_class(make_net: MakeNet, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    record = annotated(IMAGES[0], OBJECTS[0], encoded=True)
    mask = np.zeros((8, 16), np.uint8)
    mask[:, :5] = 255
    record.datum.seg_label = cv2.imencode(".png", mask)[1].tobytes()
    net = make_net(layer(write_lmdb(tmp_path / "lmdb", records([record])), 1, more="seg_scales: 2", tops=THREE))
    net.forward()
    assert (net.blobs["label"].data == ROWS[:3]).all()
    np.testing.assert_array_equal(net.blobs["masks"].data, np.tile([1, 1, 1, 0, 0, 0, 0, 0], (1, 1, 4, 1)))


def test_masks_go_along_with_patches_and_mirrors(make_net: MakeNet, tmp_path: Path) -> None:
    """The image shows its mask."""
    cv2 = pytest.importorskip("cv2")
    mask = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 5)).astype(np.uint8), (80, 48))
    record = annotated(np.stack([mask] * 3), [(1, 0, 0, 0, 1, 1, 0)], encoded=True)
    record.datum.seg_label = cv2.imencode(".png", mask)[1].tobytes()
    source = write_lmdb(tmp_path / "lmdb", records([record]))
    transform = "mirror: true resize_param { height: 48 width: 80 interp_mode: AREA }"
    net = make_net(layer(source, 20, transform, "yolo_data_jitter: 0.6 seg_scales: 1", tops=THREE))
    net.forward()
    shown, maps = net.blobs["data"].data[:, 0], net.blobs["masks"].data[:, 0]
    assert len({image.tobytes() for image in maps}) > 10
    assert ((shown > 100) == maps).mean() > 0.999


def test_masks_of_images_that_are_too_small(make_net: MakeNet, masked: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(DataError, match=r"the images are 8 x 16, and seg_scales is 9\. Make seg_scales smaller"):
        make_net(layer(masked[0], 2, more="seg_scales: 9", tops=THREE))


def test_records_without_masks(make_net: MakeNet, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it has no seg_label"):
        make_net(layer(source, 2, tops=THREE))
    plain = image_lmdb(tmp_path / "plain", IMAGES)
    with pytest.raises((DataError, LayerError)):
        make_net(layer(plain, 2, tops=THREE))


def test_records_of_another_kind(make_net: MakeNet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record b'00000000' of the database .* it is not an AnnotatedDatum") as caught:
        make_net(layer(image_lmdb(tmp_path / "plain", random_images(3))))
    assert "a Data layer reads Datum messages" in str(caught.value)
    mixed = [annotated(image, []) for image in IMAGES]
    mixed[1].ClearField("type")
    net = make_net(layer(write_lmdb(tmp_path / "mixed", records(mixed))))
    with pytest.raises(DataError, match=r"record b'00000001' .* it has no annotation type, and the first has"):
        net.forward()
    for record in mixed:
        record.ClearField("type")
        record.datum.ClearField("label")
    net = make_net(layer(write_lmdb(tmp_path / "none", records(mixed)), tops='top: "data"'))
    net.forward()
    with pytest.raises(DataError, match="it has neither annotations nor a label"):
        make_net(layer(write_lmdb(tmp_path / "none2", records(mixed))))


def test_images_of_different_sizes_need_a_resize_param(make_net: MakeNet, tmp_path: Path) -> None:
    images = [random_images(1, (3, 8, 9))[0], random_images(1, (3, 7, 9))[0]]
    source = annotated_lmdb(tmp_path / "lmdb", images, [[], []])
    with pytest.raises(DataError, match="gives an image of 3 x 7 x 9, the first of its batch one of 3 x 8 x 9"):
        make_net(layer(source, 2)).forward()
    net = make_net(layer(source, 2, "resize_param { height: 5 width: 6 }"), TRAIN)
    assert net.blobs["data"].shape == (2, 3, 5, 6)
    assert batch(net)[0].shape == (2, 3, 5, 6)


def test_force_color_on_raw_images_is_noted(make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    make_net(layer(source, transform="force_color: true"))
    assert "force_color and force_gray only for encoded datum" in caplog.messages
    assert caffe_pb2.AnnotatedDatum.BBOX == 0


def test_objects_go_along_with_shuffled_images(make_net: MakeNet, source: Path) -> None:
    net = make_net(layer(source, 1).replace("backend:", "shuffle: true backend:"), seed=2)
    seen = []
    for _ in range(9):
        data, label = batch(net)
        number = int((data[0] == IMAGES).all((1, 2, 3)).argmax())
        rows = ROWS[ROWS[:, 0] == number, 1:] if number != 1 else -np.ones((1, 7))
        assert (label[0, 0, :, 1:] == rows).all()
        seen.append(number)
    assert [sorted(seen[i : i + 3]) for i in (0, 3, 6)] == [[0, 1, 2]] * 3
    assert len(set(zip(seen[::3], seen[1::3], strict=True))) > 1
