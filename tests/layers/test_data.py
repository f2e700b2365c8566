"""The Data layer: the batches of the original, one after the other, and resuming."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError, DataError, LayerError, UnknownField
from caffe_lite.io import array_to_blobproto
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import datum, image_lmdb, random_images, write_lmdb

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
MakeNet = Callable[..., Net]


def data_layer(
    source: Path, batch_size: int = 4, transform: str = "", tops: str = 'top: "data" top: "label"', more: str = ""
) -> str:
    return (
        f'layer {{ name: "images" type: "Data" {tops} transform_param {{ {transform} }} '
        f'data_param {{ source: "{source.as_posix()}" backend: LMDB batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


def prefetch_threads() -> int:
    return sum(thread.name == "caffe_lite prefetch" for thread in threading.enumerate())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return image_lmdb(tmp_path / "ten_lmdb", random_images(10))


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("l*db_*.prototxt")))
def test_batches_are_those_of_the_original(case: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    net = Net(f"{case}.prototxt", TEST, engine=engine)
    with np.load(f"{case}.npz") as recorded:
        for step in range(4):
            data, labels = batch(net)
            np.testing.assert_allclose(data, recorded[f"step{step}/data"], rtol=1e-6, atol=1e-5)
            assert (labels == recorded[f"step{step}/label"]).all()
    net.close()


def test_a_net_runs_from_any_folder(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = Net(GOLDEN / "lmdb_crop_mean_file.prototxt", TEST, engine=engine)
    with np.load(GOLDEN / "lmdb_crop_mean_file.npz") as recorded:
        np.testing.assert_allclose(batch(net)[0], recorded["step0/data"], rtol=1e-6, atol=1e-5)
    net.close()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 23])
def test_many_epochs_go_around_without_a_gap(make_net: MakeNet, source: Path, batch_size: int) -> None:
    net = make_net(data_layer(source, batch_size))
    images = random_images(10)
    seen = 0
    for _ in range(60):
        data, labels = batch(net)
        expected = np.arange(seen, seen + batch_size) % 10
        assert (labels == expected).all()
        assert (data == images[expected]).all()
        seen += batch_size


def test_shapes_are_known_before_the_first_batch(
    make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    net = make_net(data_layer(source, transform="crop_size: 5"))
    assert net.blobs["data"].shape == (4, 3, 5, 5)
    assert net.blobs["label"].shape == (4,)
    assert "output data size: 4,3,5,5" in caplog.messages
    assert prefetch_threads() == 0


def test_labels_may_be_left_out(make_net: MakeNet, source: Path) -> None:
    net = make_net(data_layer(source, tops='top: "data"'))
    net.forward()
    assert list(net.blobs) == ["data"]
    assert (net.blobs["data"].data == random_images(4)).all()


def test_a_net_in_float64(make_net: MakeNet, source: Path) -> None:
    net = make_net(data_layer(source), dtype="float64")
    data, labels = batch(net)
    assert data.dtype == labels.dtype == np.float64
    assert (data == random_images(4)).all()


def test_a_batch_that_was_kept_does_not_change(make_net: MakeNet, source: Path) -> None:
    net = make_net(data_layer(source))
    net.forward()
    kept = net.blobs["data"].data
    for _ in range(20):
        net.forward()
    assert (kept == random_images(4)).all()


def test_with_a_batch_size_of_1_the_top_takes_the_size_of_each_image(make_net: MakeNet, tmp_path: Path) -> None:
    sizes = [(3, 5, 5), (3, 8, 4), (1, 2, 2)]
    images = [random_images(1, size)[0] for size in sizes]
    net = make_net(data_layer(image_lmdb(tmp_path / "sizes", images), 1))
    for i in range(7):
        data, _ = batch(net)
        assert (data == images[i % 3][None]).all()


def test_the_layers_behind_follow_the_size(make_net: MakeNet, tmp_path: Path) -> None:
    images = [random_images(1, (3, 4 + i, 5))[0] for i in range(3)]
    net = make_net(
        data_layer(image_lmdb(tmp_path / "sizes", images), 1)
        + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }'
    )
    for image in images:
        net.forward()
        assert (net.blobs["relu"].data == image[None]).all()


def test_images_of_different_sizes_in_one_batch(make_net: MakeNet, tmp_path: Path) -> None:
    images = [random_images(1, (3, 4, 5))[0], random_images(1, (3, 6, 4))[0]]
    source = image_lmdb(tmp_path / "sizes", images)
    net = make_net(data_layer(source, 2))
    with pytest.raises(DataError) as caught:
        net.forward()
    assert "record b'00000001'" in str(caught.value)
    assert "an image of 3 x 6 x 4, the first of its batch one of 3 x 4 x 5. Set crop_size" in str(caught.value)
    assert 'layer "images" (Data)' in str(caught.value)
    data, _ = batch(make_net(data_layer(source, 2, "crop_size: 3")))
    assert data.shape == (2, 3, 3, 3)


def test_encoded_images_run_beside_raw_ones(make_net: MakeNet, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    images = random_images(4)
    png = [cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes() for image in images]
    encoded = [caffe_pb2.Datum(encoded=True, data=data, label=i).SerializeToString() for i, data in enumerate(png)]
    records = [encoded[0], datum(images[1], 1), encoded[2], datum(images[3], 3)]
    source = write_lmdb(tmp_path / "mixed", ((b"%d" % i, record) for i, record in enumerate(records)))
    data, labels = batch(make_net(data_layer(source)))
    assert (data == images).all()
    assert (labels == range(4)).all()


def test_force_gray_needs_encoded_images(make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_net(data_layer(source, transform="force_gray: true"))
    assert "force_color and force_gray only for encoded datum" in caplog.messages


def test_rand_skip_is_ignored_and_says_so(make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = make_net(data_layer(source, more="rand_skip: 7"))
    assert "rand_skip is ignored: no record is left out" in caplog.messages
    assert batch(net)[1].tolist() == [0, 1, 2, 3]


# -- stopping and resuming -------------------------------------------------------------------------------------------

RANDOM = "crop_size: 4 mirror: true scale: 0.5"


def test_one_seed_gives_one_run(make_net: MakeNet, source: Path) -> None:
    nets = [make_net(data_layer(source, 3, RANDOM), seed=seed) for seed in (5, 5, 6)]
    runs = [np.concatenate([batch(net)[0] for _ in range(8)]) for net in nets]
    assert (runs[0] == runs[1]).all()
    assert not (runs[0] == runs[2]).all()


@pytest.mark.parametrize("stop_after", [0, 1, 3, 7, 20])
def test_a_run_resumed_sees_the_batches_it_would_have_seen(make_net: MakeNet, source: Path, stop_after: int) -> None:
    net = make_net(data_layer(source, 3, RANDOM), seed=5)
    for _ in range(stop_after):
        net.forward()
    state = json.loads(json.dumps(net.state()))
    expected = [batch(net) for _ in range(9)]
    for ahead in (0, 2):  # a fresh net, and one that has run and read ahead
        resumed = make_net(data_layer(source, 3, RANDOM), seed=99)
        for _ in range(ahead):
            resumed.forward()
        resumed.restore_state(state)
        assert json.loads(json.dumps(resumed.state())) == state
        for data, labels in expected:
            again, labels_again = batch(resumed)
            assert (again == data).all()
            assert (labels_again == labels).all()


def test_resuming_with_another_database_is_refused(make_net: MakeNet, source: Path, tmp_path: Path) -> None:
    net = make_net(data_layer(source, 3))
    net.forward()
    other = image_lmdb(tmp_path / "two_lmdb", random_images(2))
    with pytest.raises(DataError, match="has no record b'00000003', where training is to go on"):
        make_net(data_layer(other, 3)).restore_state(net.state())


def test_two_nets_read_one_database_each_at_its_own_place(make_net: MakeNet, source: Path) -> None:
    train, test = make_net(data_layer(source, 3), TRAIN), make_net(data_layer(source, 2), TEST)
    for i in range(6):
        assert (batch(train)[1] == np.arange(3 * i, 3 * i + 3) % 10).all()
        assert (batch(test)[1] == np.arange(2 * i, 2 * i + 2) % 10).all()


# -- threads ---------------------------------------------------------------------------------------------------------


def test_close_ends_the_thread(make_net: MakeNet, source: Path) -> None:
    net = make_net(data_layer(source))
    net.forward()
    assert prefetch_threads() == 1
    net.close()
    assert prefetch_threads() == 0
    net.close()


def test_a_net_nobody_holds_leaves_no_thread(engine: str, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(data_layer(source), encoding="utf-8")
    net = Net(path, TRAIN, engine=engine)
    net.forward()
    assert prefetch_threads() == 1
    del net
    gc.collect()
    deadline = time.monotonic() + 10
    while prefetch_threads() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert prefetch_threads() == 0


def test_a_broken_record_stops_the_run_at_its_batch(make_net: MakeNet, tmp_path: Path) -> None:
    records = [(b"%08d" % i, datum(image, i)) for i, image in enumerate(random_images(10))]
    records[7] = (b"00000007", records[7][1][:-30])
    net = make_net(data_layer(write_lmdb(tmp_path / "broken", records), 2))
    for i in range(3):
        assert (batch(net)[1] == [2 * i, 2 * i + 1]).all()
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            net.forward()
        message = str(caught.value)
        assert "net.prototxt:1:1, " in message
        assert "layer \"images\" (Data): record b'00000007' of the database" in message
        assert "cannot be used: it is not a Datum" in message


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (("batch_size: 4", ""), LayerError, "batch_size is 0. Give data_param a batch_size of at least 1"),
        (("batch_size: 4", "batch_size: 4 prefetch: 0"), LayerError, "prefetch is 0"),
        (("batch_size: 4", "batch_size: 4 scale: 2 mirror: true"), LayerError, "data_param holds scale and mirror"),
        (("batch_size: 4", "batch_size: 4 force_encoded_color: true"), LayerError, "Write force_color there"),
        (("ten_lmdb", "eleven_lmdb"), DataError, "there is no database"),
        (("backend: LMDB", ""), DataError, "write `backend: LMDB`"),
        (("transform_param {", "transform_param { crop_size: 7"), DataError, "crop_size 7 is larger than the image"),
        (("transform_param {", 'transform_param { mean_file: "no.mean"'), DataError, "there is no mean_file 'no.mean'"),
        (
            ("transform_param {", 'transform_param { mean_value: 3 mean_file: "no.mean"'),
            LayerError,
            "mean_file and mean_value exclude each other",
        ),
    ],
)
def test_errors_name_the_layer(
    make_net: MakeNet, source: Path, change: tuple[str, str], kind: type[CaffeError], message: str
) -> None:
    text = data_layer(source)
    assert change[0] in text
    with pytest.raises(kind) as caught:
        make_net(text.replace(*change))
    assert 'net.prototxt:1:1, layer "images" (Data): ' in str(caught.value)
    assert message in str(caught.value)


RESIZED = "resize_param { height: 8 width: 4 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 7 interp_mode: NEAREST }"


def test_images_of_different_sizes_become_equal(make_net: MakeNet, tmp_path: Path) -> None:
    """Both are doubled; one is padded above and below, the other at its sides."""
    pytest.importorskip("cv2")
    wide, high = random_images(1, (3, 2, 2))[0], random_images(1, (3, 4, 1))[0]
    source = image_lmdb(tmp_path / "sizes", [wide, high])
    net = make_net(data_layer(source, 2, RESIZED + " mean_value: 5 scale: 2"), TEST)
    assert net.blobs["data"].shape == (2, 3, 8, 4)
    expected = np.full((2, 3, 8, 4), 7.0)
    expected[0, :, 2:6] = wide.repeat(2, 1).repeat(2, 2)
    expected[1, :, :, 1:3] = high.repeat(2, 1).repeat(2, 2)
    assert (batch(net)[0] == 2 * (expected - 5)).all()


def test_the_mean_image_is_as_large_as_a_resized_one(make_net: MakeNet, source: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    mean = tmp_path / "mean.binaryproto"
    mean.write_bytes(array_to_blobproto(np.full((1, 3, 12, 14), 3)).SerializeToString())
    transform = f'resize_param {{ height: 12 width: 14 interp_mode: NEAREST }} mean_file: "{mean.as_posix()}"'
    net = make_net(data_layer(source, transform=transform + " crop_size: 12"), TEST)
    doubled = random_images(4).repeat(2, 2).repeat(2, 3)
    assert (batch(net)[0] == doubled[..., 1:13] - 3.0).all()
    with pytest.raises(DataError, match=r"the image is 3 x 6 x 7 \(C x H x W\), the one in mean_file 3 x 12 x 14"):
        make_net(data_layer(source, transform=f'mean_file: "{mean.as_posix()}"'))


def test_a_step_that_an_image_does_not_allow_names_the_record(make_net: MakeNet, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    source = image_lmdb(tmp_path / "floats", random_images(3).astype(np.float32))
    net = make_net(data_layer(source, 2, "distort_param { brightness_prob: 1 }"))
    with pytest.raises(DataError, match=r"record b'00000000' .* distort_param changes images of bytes only"):
        net.forward()


# -- shuffle ---------------------------------------------------------------------------------------------------------


def test_a_shuffled_database_is_read_once_in_each_epoch_in_other_orders(
    make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    net = make_net(data_layer(source, 5, more="shuffle: true cache: true"), seed=1)
    assert "Shuffling data" in caplog.messages
    images, epochs = random_images(10), []
    for _ in range(4):
        (first, labels), (second, more_labels) = batch(net), batch(net)
        order = np.concatenate([labels, more_labels]).astype(int)
        assert sorted(order) == list(range(10))
        assert (np.concatenate([first, second]) == images[order]).all()
        epochs.append(tuple(order))
    assert len({*epochs, tuple(range(10))}) == 5


@pytest.mark.parametrize("stop_after", [0, 2, 7])
def test_a_shuffled_run_resumed_sees_the_same_batches(make_net: MakeNet, source: Path, stop_after: int) -> None:
    text = data_layer(source, 3, RANDOM, more="shuffle: true")
    net = make_net(text, seed=5)
    for _ in range(stop_after):
        net.forward()
    state = json.loads(json.dumps(net.state()))
    expected = [batch(net) for _ in range(9)]
    resumed = make_net(text, seed=99)
    resumed.forward()
    resumed.restore_state(state)
    for data, labels in expected:
        again, labels_again = batch(resumed)
        assert (again == data).all()
        assert (labels_again == labels).all()


def test_a_shuffled_run_is_not_resumed_from_one_in_order(make_net: MakeNet, source: Path) -> None:
    state = make_net(data_layer(source, 3)).state()
    with pytest.raises(LayerError, match="the snapshot holds the place in a source of another kind"):
        make_net(data_layer(source, 3, more="shuffle: true")).restore_state(state)


# -- random sizes of forks -------------------------------------------------------------------------------------------

SIZES = [
    "random_resize_param { min_size: 6 max_size: 9 resize_param { interp_mode: CUBIC } }",
    "random_aspect_ratio_param { min_area_ratio: 0.3 aspect_ratio_change: 0.75 }",
    "img_rand_resize_lower: 5 img_rand_resize_upper: 8 allow_upscale: true horizontal_stretch_upper: 1.5",
    "multi_scale: true fix_crop: true",
    "fix_crop: true more_fix_crop: true",
    "erase_ratio: 0.5 scale_min: 0.3",
]


@pytest.mark.parametrize("transform", SIZES)
def test_random_sizes_are_resumed(make_net: MakeNet, source: Path, transform: str) -> None:
    pytest.importorskip("cv2")
    text = data_layer(source, 3, f"{transform} crop_size: 5 mirror: true")
    net = make_net(text, seed=5)
    assert net.blobs["data"].shape == (3, 3, 5, 5)
    net.forward()
    state = json.loads(json.dumps(net.state()))
    expected = [batch(net)[0] for _ in range(4)]
    assert len({images.tobytes() for images in expected}) == 4
    resumed = make_net(text, seed=99)
    resumed.forward()
    resumed.restore_state(state)
    assert all((batch(resumed)[0] == images).all() for images in expected)


def test_objects_have_no_random_sizes(make_net: MakeNet, source: Path) -> None:
    text = data_layer(source, 3, "multi_scale: true crop_size: 5").replace('"Data"', '"AnnotatedData"')
    with pytest.raises(UnknownField, match="multi_scale is a field of yjxiong/caffe that changes results"):
        make_net(text)
