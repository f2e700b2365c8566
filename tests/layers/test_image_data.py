"""The ImageData layer: the batches of the original, and faulty lists and images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError, DataError, LayerError
from tests.data.database_files import random_images
from tests.data.image_files import image_list, write_image

cv2 = pytest.importorskip("cv2")

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
MakeNet = Callable[..., Net]


def image_layer(source: Path, batch_size: int = 4, more: str = "", transform: str = "") -> str:
    return (
        f'layer {{ name: "images" type: "ImageData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'image_data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return image_list(tmp_path / "ten", random_images(10))


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("image_*.prototxt")))
@pytest.mark.parametrize("inside", [True, False])
def test_batches_are_those_of_the_original(
    case: str, inside: bool, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are the same from the folder of the prototxt and from any other."""
    monkeypatch.chdir(GOLDEN if inside else tmp_path)
    net = Net(GOLDEN / f"{case}.prototxt", TEST, engine=engine)
    with np.load(GOLDEN / f"{case}.npz") as recorded:
        for step in range(4):
            data, labels = batch(net)
            np.testing.assert_allclose(data, recorded[f"step{step}/data"], rtol=1e-6, atol=1e-5)
            assert (labels == recorded[f"step{step}/label"]).all()
    net.close()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 23])
def test_many_epochs_go_around_without_a_gap(make_net: MakeNet, ten: Path, batch_size: int) -> None:
    net = make_net(image_layer(ten, batch_size))
    images, seen = random_images(10), 0
    for _ in range(20):
        data, labels = batch(net)
        expected = np.arange(seen, seen + batch_size) % 10
        assert (labels == expected).all()
        assert (data == images[expected]).all()
        seen += batch_size


@pytest.mark.parametrize("batch_size", [5, 7])
def test_a_shuffled_epoch_has_each_image_once_and_each_epoch_its_own_order(
    make_net: MakeNet, ten: Path, batch_size: int
) -> None:
    net = make_net(image_layer(ten, batch_size, "shuffle: true"), seed=3)
    images = random_images(10)
    batches = [batch(net) for _ in range(14)]
    labels = np.concatenate([labels for _, labels in batches]).astype(int)
    assert (np.concatenate([data for data, _ in batches]) == images[labels]).all()
    epochs = [tuple(labels[i : i + 10]) for i in range(0, len(labels) // 10 * 10, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == len(epochs)


def test_rand_skip_leaves_out_some_once(make_net: MakeNet, ten: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    firsts = set()
    for seed in range(12):
        net = make_net(image_layer(ten, 4, "rand_skip: 3"), seed=seed)
        labels = np.concatenate([batch(net)[1] for _ in range(6)])
        assert (labels == (np.arange(24) + labels[0]) % 10).all()
        assert f"Skipping first {int(labels[0])} data points." in caplog.messages
        firsts.add(labels[0])
        caplog.clear()
    assert firsts == {0, 1, 2}


def test_the_log_says_how_many_there_are(make_net: MakeNet, ten: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    make_net(image_layer(ten, more="shuffle: true"))
    said = [f"Opening file {ten.as_posix()}", "Shuffling data", "A total of 10 images.", "output data size: 4,3,6,7"]
    assert [message for message in caplog.messages if message in said] == said


def test_a_huge_list_tells_how_far_it_is(make_net: MakeNet, ten: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    line = ten.read_text(encoding="utf-8").splitlines()[0]
    ten.write_text(f"{line}\n" * 1_000_001, encoding="utf-8")
    make_net(image_layer(ten))
    assert f"Read 500000 lines of {ten.as_posix()}" in caplog.messages
    assert f"Read 1000000 lines of {ten.as_posix()}" in caplog.messages
    assert "A total of 1000001 images." in caplog.messages


def test_gray_and_resized_as_opencv_does_it(make_net: MakeNet, ten: Path) -> None:
    net = make_net(image_layer(ten, 10, "is_color: false new_height: 9 new_width: 5"))
    images = [cv2.imread(str(ten.parent / f"im{i}.png"), cv2.IMREAD_GRAYSCALE) for i in range(10)]
    expected = [cv2.resize(image, (5, 9)) for image in images]
    data, _ = batch(net)
    assert data.shape == (10, 1, 9, 5)
    assert (data[:, 0] == np.array(expected)).all()


def test_images_of_many_sizes(make_net: MakeNet, tmp_path: Path) -> None:
    """With one image per batch, each top has the size of its image; several images must be resized to the same size."""
    images = [random_images(1, (3, 4 + i, 9 - i))[0] for i in range(3)]
    source = image_list(tmp_path / "sizes", images)
    net = make_net(image_layer(source, 1))
    for i in range(5):
        assert (batch(net)[0] == images[i % 3][None]).all()
    net = make_net(image_layer(source, 3))
    with pytest.raises(DataError) as caught:
        net.forward()
    assert str(caught.value).startswith(f'{source.as_posix()}:2:1, layer "images" (ImageData): the image ')
    assert "gives an image of 3 x 5 x 8, the first of its batch one of 3 x 4 x 9. Set crop_size" in str(caught.value)
    assert batch(make_net(image_layer(source, 3, transform="crop_size: 4")))[0].shape == (3, 3, 4, 4)
    assert batch(make_net(image_layer(source, 3, "new_height: 7 new_width: 6")))[0].shape == (3, 3, 7, 6)


def test_lines_of_every_kind(make_net: MakeNet, tmp_path: Path) -> None:
    """Spaces and letters of any alphabet in paths, tabs, empty lines, Windows' line endings, no label."""
    names = ["plain.png", "with two spaces.png", "größe.png", "tab.png", "trailing.png", "alone.png"]
    for i, name in enumerate(names):
        image = np.full((3, 2, 2), i, np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes())
    lines = f"\ufeff{names[0]} 10\r\n\r\n{names[1]} -11\n{names[2]} 12\n{names[3]}\t13\n{names[4]} 14  \n\n{names[5]}"
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8", newline="")
    net = make_net(image_layer(tmp_path / "list.txt", 6, f'root_folder: "{tmp_path.as_posix()}/"'))
    data, labels = batch(net)
    assert (data[:, 0, 0, 0] == range(6)).all()
    assert labels.tolist() == [10, -11, 12, 13, 14, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "it is not there: looked for "),
        (b"", "OpenCV cannot decode its image. It is damaged"),
        (b"no image", "OpenCV cannot decode its image. It is damaged"),
    ],
)
@pytest.mark.parametrize("index", [0, 5])
def test_an_image_that_cannot_be_read_is_named_with_its_line(
    make_net: MakeNet, ten: Path, content: bytes | None, message: str, index: int
) -> None:
    ten.write_text("\n\n" + ten.read_text(encoding="utf-8"), encoding="utf-8")
    image = ten.parent / f"im{index}.png"
    image.unlink() if content is None else image.write_bytes(content)
    with pytest.raises(DataError) as caught:
        batch(make_net(image_layer(ten, 7)))
    place = f'{ten.as_posix()}:{index + 3}:1, layer "images" (ImageData): '
    assert str(caught.value).startswith(f"{place}the image {image.as_posix()!r} cannot be used: {message}")


def test_a_broken_image_stops_the_run_at_its_batch(make_net: MakeNet, ten: Path) -> None:
    (ten.parent / "im7.png").write_bytes(b"")
    net = make_net(image_layer(ten, 2))
    for i in range(3):
        assert (batch(net)[1] == [2 * i, 2 * i + 1]).all()
    for _ in range(2):
        with pytest.raises(DataError, match=r"im7.png' cannot be used"):
            net.forward()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (("batch_size: 4", "batch_size: 0"), LayerError, "batch_size is 0. Give image_data_param a batch_size"),
        (("batch_size: 4", "new_width: 3"), LayerError, "one of new_height and new_width is given. Give both, or none"),
        (("batch_size: 4", "crop_size: 3 mirror: true"), LayerError, "holds crop_size and mirror"),
        (("batch_size: 4", "rand_skip: 11"), LayerError, "rand_skip is 11, there are 10 images"),
        (("list.txt", "lost.txt"), DataError, "there is no file"),
        (("list.txt", ""), DataError, "cannot be read: "),
        (("source: ", "root_folder: "), LayerError, "there is no source. Give image_data_param a source"),
        (("transform_param {", "transform_param { crop_size: 7"), DataError, "crop_size 7 is larger than the image"),
        (('top: "label"', ""), CaffeError, "1 tops, a ImageData layer takes 2"),
    ],
)
def test_errors_name_the_layer(
    make_net: MakeNet, ten: Path, change: tuple[str, str], kind: type[CaffeError], message: str
) -> None:
    text = image_layer(ten)
    assert change[0] in text
    with pytest.raises(kind) as caught:
        make_net(text.replace(*change))
    assert 'layer "images" (ImageData): ' in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "the list of images is empty. Write lines like cat.jpg 3"),
        ("\n \n", "the list of images is empty"),
        ("a.png 1\nmy cat.png\n", ":2:1, layer \"images\" (ImageData): the label 'cat.png' is not a whole number"),
        ("a.png 0.5\n", "the label '0.5' is not a whole number of 32 bits"),
        ("a.png 4294967296\n", "the label '4294967296' is not a whole number"),
        ("a\0.png 3\n", "cannot be used"),
    ],
)
def test_lists_that_are_not_as_they_should_be(make_net: MakeNet, tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        make_net(image_layer(tmp_path / "list.txt"))
    assert message in str(caught.value)
    assert f"{(tmp_path / 'list.txt').as_posix()}" in str(caught.value)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_a_batch(data: st.DataObject, tmp_path: Path, make_net: MakeNet) -> None:
    """Bytes are changed or cut off, in the list or in an image of any format."""
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".bmp"]))
    image = tmp_path / f"image{suffix}"
    write_image(image, random_images(1, (3, 9, 8))[0])
    source = tmp_path / "list.txt"
    source.write_text(f"{image.as_posix()} 7\n" * 2, encoding="utf-8")
    victim = data.draw(st.sampled_from([image, source]))
    content = bytearray(victim.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at:]
    victim.write_bytes(content)
    try:
        values, labels = batch(make_net(image_layer(source, 1)))
    except CaffeError:
        return
    assert np.isfinite(values).all()
    assert len(labels) == 1


# -- what forks add --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "size"), [("short_side: 12", (12, 14)), ("min_height: 8 min_width: 14", (12, 14))])
def test_sizes_in_proportion(make_net: MakeNet, ten: Path, more: str, size: tuple[int, int]) -> None:
    net = make_net(image_layer(ten, 2, more), TEST)
    assert net.blobs["data"].shape == (2, 3, *size)
    wanted = [cv2.resize(image.transpose(1, 2, 0), size[::-1]).transpose(2, 0, 1) for image in random_images(2)]
    assert (batch(net)[0] == wanted).all()


@pytest.mark.parametrize(("more", "channels"), [("", 3), ("is_color: false", 1)])
def test_channels_in_the_other_order(make_net: MakeNet, ten: Path, more: str, channels: int) -> None:
    (plain, _), (turned, _) = (
        batch(make_net(image_layer(ten, 4, more, transform), TEST)) for transform in ("", "bgr2rgb: true")
    )
    assert turned.shape[1] == channels
    assert (turned == plain[:, ::-1]).all()


def test_one_of_two_least_sizes(make_net: MakeNet, ten: Path) -> None:
    with pytest.raises(LayerError, match=r'layer "images".*one of min_height and min_width is given'):
        make_net(image_layer(ten, 4, "min_width: 3"))


def test_random_sizes_are_cropped(make_net: MakeNet, ten: Path) -> None:
    transform = "random_aspect_ratio_param { } crop_size: 4 mirror: true"
    net = make_net(image_layer(ten, 5, "new_height: 9 new_width: 9", transform))
    assert batch(net)[0].shape == (5, 3, 4, 4)
