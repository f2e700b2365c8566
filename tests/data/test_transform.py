"""DataTransformer against the original's formula, written out image by image."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite import TEST, TRAIN
from caffe_lite.data.augmentation.objects import NO_OBJECTS
from caffe_lite.data.transform import DataTransformer, by
from caffe_lite.errors import DataError, LayerError, Where
from caffe_lite.io import array_to_blobproto
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import random_images


def transformer(text: str, phase: int = TRAIN) -> DataTransformer:
    return DataTransformer(text_format.Parse(text, caffe_pb2.TransformationParameter()), phase)


def mean_file(path: Path, mean: np.ndarray) -> Path:
    path.write_bytes(array_to_blobproto(mean).SerializeToString())
    return path


def crops(image: np.ndarray, size: int) -> dict[tuple[int, int, bool], np.ndarray]:
    """Return every crop of an image, also mirrored, by its position."""
    _, height, width = image.shape
    found = {}
    for row in range(height - size + 1):
        for column in range(width - size + 1):
            crop = image[:, row : row + size, column : column + size]
            found[row, column, False], found[row, column, True] = crop, crop[:, :, ::-1]
    return found


def test_nothing_asked_means_the_values_as_they_are() -> None:
    images = random_images(4)
    batch = transformer("")(list(images), np.random.default_rng(0))
    assert batch.dtype == np.float32
    assert (batch == images).all()


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("means", [[], [100.25], [104, 117.5, 123]])
@pytest.mark.parametrize("scale", [1, 0.00390625, 0.017])
def test_the_formula(count: int, floats: bool, means: list[float], scale: float) -> None:
    images = random_images(count)
    images = images.astype(np.float32) / 3 if floats else images
    text = f"scale: {scale} " + " ".join(f"mean_value: {mean}" for mean in means)
    batch = transformer(text)(list(images), np.random.default_rng(0))
    mean = np.array(means or [0], np.float32)[:, None, None]
    assert batch.dtype == np.float32
    assert (batch == (images.astype(np.float32) - mean) * np.float32(scale)).all()


def test_bytes_and_floats_in_one_batch() -> None:
    images = [random_images(1)[0], random_images(1)[0] / np.float32(2)]
    batch = transformer("scale: 0.5")(images, np.random.default_rng(0))
    assert (batch == np.array(images) * np.float32(0.5)).all()


@pytest.mark.parametrize("size", [1, 4, 6])
def test_the_crop_is_central_in_the_test_phase(size: int) -> None:
    images = random_images(3, (2, 6, 9))
    batch = transformer(f"crop_size: {size}", TEST)(list(images), np.random.default_rng(0))
    row, column = (6 - size) // 2, (9 - size) // 2
    assert (batch == images[:, :, row : row + size, column : column + size]).all()


def test_crop_and_mirror_are_random_in_the_train_phase_and_the_mean_goes_along(tmp_path: Path) -> None:
    mean = np.random.default_rng(1).normal(100, 20, (1, 3, 6, 7)).astype(np.float32)
    path = mean_file(tmp_path / "mean.binaryproto", mean)
    image = random_images(1)[0]
    expected = crops((image - mean[0]) * np.float32(0.5), 4)
    transform = transformer(f'crop_size: 4 mirror: true scale: 0.5 mean_file: "{path.as_posix()}"')
    batch = transform([image] * 1200, np.random.default_rng(0))
    seen = dict.fromkeys(expected, 0)
    for result in batch:
        seen[next(place for place, crop in expected.items() if (crop == result).all())] += 1
    assert len(seen) == 24
    assert min(seen.values()) > 25  # of 50 expected
    assert max(seen.values()) < 85


def test_a_crop_that_is_not_square() -> None:
    image = random_images(1, (2, 6, 9))[0]
    batch = transformer("crop_h: 3 crop_w: 5", TEST)([image], np.random.default_rng(0))
    assert (batch[0] == image[:, 1:4, 2:7]).all()
    batch = transformer("crop_h: 3 crop_w: 5")([image] * 300, np.random.default_rng(0))
    parts = [image[:, y : y + 3, x : x + 5] for y in range(4) for x in range(5)]
    assert {next(i for i, part in enumerate(parts) if (part == crop).all()) for crop in batch} == set(range(20))
    batch = transformer("crop_size: 2 crop_h: 3 crop_w: 5", TEST)([image], np.random.default_rng(0))
    assert (batch[0] == image[:, 2:4, 3:5]).all()


def test_mirroring_is_random_in_the_test_phase_too() -> None:
    images = random_images(200)
    batch = transformer("mirror: true", TEST)(list(images), np.random.default_rng(0))
    mirrored = [bool((result == image[:, :, ::-1]).all()) for result, image in zip(batch, images, strict=True)]
    straight = [bool((result == image).all()) for result, image in zip(batch, images, strict=True)]
    assert [not flip for flip in mirrored] == straight
    assert 60 < sum(mirrored) < 140


def test_a_crop_makes_images_of_different_sizes_equal() -> None:
    images = [random_images(1, (1, 5, 8))[0], random_images(1, (1, 9, 4))[0]]
    batch = transformer("crop_size: 4")(images, np.random.default_rng(3))
    for result, image in zip(batch, images, strict=True):
        assert any((crop == result).all() for crop in crops(image, 4).values())


def test_one_generator_state_gives_one_batch() -> None:
    images, rng = list(random_images(20)), np.random.default_rng(5)
    transform = transformer("crop_size: 3 mirror: true")
    state = rng.bit_generator.state
    batch = transform(images, rng)
    assert not (batch == transform(images, rng)).all()
    rng.bit_generator.state = state
    assert (batch == transform(images, rng)).all()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0)])
@pytest.mark.parametrize(
    "text", ["", "scale: 2", "mean_value: 1 mean_value: 2 mean_value: 3", "crop_size: 4 mirror: true"]
)
def test_a_batch_lies_in_memory_as_asked_for(order: tuple[int, ...], text: str) -> None:
    param = text_format.Parse(text, caffe_pb2.TransformationParameter())
    images = list(random_images(8))
    batch = DataTransformer(param, TEST, order=order)(images, np.random.default_rng(0))
    assert batch.transpose(order).flags.c_contiguous
    assert (batch == transformer(text, TEST)(images, np.random.default_rng(0))).all()


@pytest.mark.parametrize("shape", [(3, 6, 7), (1, 3, 6, 7)])
def test_mean_file(tmp_path: Path, shape: tuple[int, ...], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    mean = np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)
    path = mean_file(tmp_path / "mean.binaryproto", mean)
    images = random_images(2)
    transform = transformer(f'mean_file: "{path.as_posix()}"')
    assert caplog.messages == [f"Loading mean file from: {path.as_posix()}"]
    assert (transform(list(images), np.random.default_rng(0)) == images - mean.reshape(3, 6, 7)).all()


def test_mean_file_beside_the_prototxt(tmp_path: Path) -> None:
    mean_file(tmp_path / "mean.binaryproto", np.full((1, 3, 6, 7), 9, np.float32))
    param = caffe_pb2.TransformationParameter(mean_file="mean.binaryproto")
    images = random_images(2)
    transform = DataTransformer(param, TEST, Where(str(tmp_path / "net.prototxt")))
    assert (transform(list(images), np.random.default_rng(0)) == images - np.float32(9)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no mean_file"),
        (b"\xff\xff", "is not a BlobProto"),
        (b"", "is not a BlobProto. Give the .binaryproto that compute-image-mean makes"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", "is not a BlobProto"),
        (caffe_pb2.NetParameter(name="weights").SerializeToString(), "is not a BlobProto"),
        (caffe_pb2.Datum(channels=1, height=1, width=1, data=b"1").SerializeToString(), "is not a BlobProto"),
        (array_to_blobproto(np.ones(5)).SerializeToString(), r"an array of shape \(5,\), not one image"),
        (array_to_blobproto(np.ones((2, 3, 6, 7))).SerializeToString(), "not one image"),
        (caffe_pb2.BlobProto(num=1, channels=3, height=6, width=7, data=[1]).SerializeToString(), "holds 1 values"),
    ],
)
def test_a_broken_mean_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mean.binaryproto"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        transformer(f'mean_file: "{path.as_posix()}"')
    assert "mean.binaryproto" in str(caught.value)


def test_a_mean_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mean_file '.*' cannot be read: "):
        transformer(f'mean_file: "{tmp_path.as_posix()}"')


def test_mean_file_and_mean_value_exclude_each_other() -> None:
    with pytest.raises(LayerError, match="mean_file and mean_value exclude each other"):
        transformer('mean_file: "mean.binaryproto" mean_value: 1')


def test_images_that_cannot_be_transformed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crop_size 7 is larger than the image: 6 x 7"):
        transformer("crop_size: 7").shape((3, 6, 7))
    with pytest.raises(DataError, match="crop_h x crop_w 7 x 2 is larger than the image: 6 x 7"):
        transformer("crop_h: 7 crop_w: 2").shape((3, 6, 7))
    with pytest.raises(LayerError, match="one of crop_h and crop_w is given"):
        transformer("crop_w: 2")
    with pytest.raises(DataError, match="mean_value is given 2 times, the image has 3 channels"):
        transformer("mean_value: 1 mean_value: 2").shape((3, 6, 7))
    for other in ((3, 6, 8), (1, 6, 7)):
        path = mean_file(tmp_path / "mean.binaryproto", np.ones((1, *other)))
        with pytest.raises(DataError, match=rf"image is 3 x 6 x 7 \(C x H x W\), the one in mean_file {by(other)}\."):
            transformer(f'mean_file: "{path.as_posix()}"').shape((3, 6, 7))


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("resize_param { height: 5 width: 5 prob: 0.5 }", True),
        ("noise_param { prob: 1 }", True),
        ("resize_param { height: 5 width: 5 prob: 1 } noise_param { inverse: true }", False),
    ],
)
def test_a_probability_that_ssd_does_not_read_is_noted(
    text: str, noted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    transformer(text)
    assert any("prob in resize_param and noise_param is ignored" in line for line in caplog.messages) == noted


# -- what forks add --------------------------------------------------------------------------------------------------


def test_a_crop_from_the_centre_in_training() -> None:
    image = random_images(1)[0]
    batch = transformer("crop_size: 3 center_crop: true")([image] * 5, np.random.default_rng(0))
    assert (batch == image[:, 1:4, 2:5]).all()


@pytest.mark.parametrize(("field", "channels"), [("flow", [2]), ("is_flow", [0, 2, 4])])
@pytest.mark.parametrize("floats", [False, True])
def test_mirrored_flow_changes_its_direction(field: str, channels: list[int], floats: bool, tmp_path: Path) -> None:
    image = random_images(1, (5, 4, 6))[0].astype(np.float32 if floats else np.uint8)
    mirrored = image[:, :, ::-1].astype(float)
    mirrored[channels] = 255 - mirrored[channels]
    batch = transformer(f"mirror: true scale: 0.5 mean_value: 128 {field}: true")(
        [image] * 30, np.random.default_rng(0)
    )
    found = {tuple(x.ravel()) for x in batch}
    assert found == {tuple((0.5 * (x - 128)).ravel()) for x in (image.astype(float), mirrored)}
    mean = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    file = mean_file(tmp_path / "mean.binaryproto", mean[None])
    batch = transformer(f'mirror: true {field}: true mean_file: "{file.as_posix()}"')(
        [image] * 30, np.random.default_rng(0)
    )
    wanted = image - mean, mirrored - mean[:, :, ::-1]
    assert all(min(abs(x - one).max() for one in wanted) < 1e-4 for x in batch)


def test_fixed_crops(tmp_path: Path) -> None:
    image = random_images(1, (1, 13, 9))[0]
    batch = transformer("crop_size: 4 fix_crop: true")([image] * 60, np.random.default_rng(0))
    places = [(0, 0), (0, 4), (8, 0), (8, 4), (4, 2)]
    assert {x.tobytes() for x in batch} == {
        image[:, top : top + 4, left : left + 4].astype(np.float32).tobytes() for top, left in places
    }
    central = transformer("crop_size: 4 fix_crop: true", TEST)([image], np.random.default_rng(0))
    assert (central == image[:, 4:8, 2:6]).all()


def test_multi_scale_is_for_training() -> None:
    pytest.importorskip("cv2")
    image = random_images(1, (3, 20, 26))[0]
    text = "crop_size: 10 multi_scale: true scale_ratios: 1 fix_crop: true"
    assert transformer(text).augmentation(image, NO_OBJECTS, np.random.default_rng(0))[0].shape == (3, 10, 10)
    testing = transformer(text, TEST)
    assert not testing.augmentation
    assert (testing([image], np.random.default_rng(0)) == image[:, 5:15, 8:18]).all()


@pytest.mark.parametrize(
    ("text", "corner"),
    [("vertical_stretch_lower: 1", (2, 3)), ("multi_scale: true", (0, 0))],
    ids=["NVIDIA's sizes", "multi_scale"],
)
def test_the_part_of_the_mean_image_that_random_sizes_leave(text: str, corner: tuple[int, int], tmp_path: Path) -> None:
    top, left = corner
    mean = random_images(1, (3, 8, 10))[0].astype(np.float32)
    file = mean_file(tmp_path / "mean.binaryproto", mean[None])
    images = random_images(9, (3, 7, 9)) if "stretch" in text else random_images(9, (3, 4, 4))
    made = transformer(f'{text} crop_size: 4 mean_file: "{file.as_posix()}"')
    batch = made(list(images), np.random.default_rng(0))
    part = mean[:, top : top + 4, left : left + 4]
    for x, image in zip(batch, images, strict=True):
        found = (x + part).astype(np.uint8)
        assert any((found == crop).all() for crop in crops(image, 4).values())
    small = mean_file(tmp_path / "small.binaryproto", mean[None, :, :3])
    made = transformer(f'{text} crop_size: 4 mean_file: "{small.as_posix()}"')
    with pytest.raises(DataError, match=r"crops are 3 x 4 x 4 .* the image in mean_file is 3 x 3 x 10"):
        made(list(images), np.random.default_rng(0))


def test_means_of_a_group_of_channels_are_repeated() -> None:
    image = random_images(1, (6, 2, 3))[0]
    batch = transformer("mean_value: 104 mean_value: 117")([image], np.random.default_rng(0))
    assert (batch[0] == image - np.array([104, 117] * 3)[:, None, None]).all()


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_crops_are_erased_before_the_mean_and_the_mirror(phase: int) -> None:
    image = np.full((2, 12, 12), 255, np.uint8)
    text = "erase_ratio: 0.5 scale_min: 0.3 crop_size: 9 mirror: true mean_value: 55 scale: 0.5"
    batch = transformer(text, phase)([image] * 80, np.random.default_rng(0))
    assert batch.shape == (80, 2, 9, 9)
    erased = (batch != 100).any((1, 2, 3))
    assert 25 < erased.sum() < 55
    for x in batch[erased]:
        rows, columns = (x != 100).any((0, 2)), (x != 100).any((0, 1))
        assert np.diff(np.flatnonzero(rows)).max(initial=1) == np.diff(np.flatnonzero(columns)).max(initial=1) == 1
        noise = x[:, rows][:, :, columns] * 2 + 55
        assert (noise == noise.astype(np.uint8)).all() and noise.max() <= 254


def test_nothing_is_drawn_for_an_erase_ratio_of_0() -> None:
    images = list(random_images(4))
    plain, other = np.random.default_rng(0), np.random.default_rng(0)
    transformer("crop_size: 3 mirror: true")(images, plain)
    transformer("crop_size: 3 mirror: true erase_ratio: 0 scale_min: 0.1")(images, other)
    assert plain.bit_generator.state == other.bit_generator.state
