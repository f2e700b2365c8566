"""The WindowData layer: the windows that it draws, how it warps them, and faulty window files."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError, DataError, LayerError
from caffe_lite.io import array_to_blobproto
from tests.data.database_files import random_images
from tests.data.window_files import Window, random_windows, window_file

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]


def window_layer(source: Path, batch_size: int = 4, more: str = "", transform: str = "crop_size: 8") -> str:
    return (
        f'layer {{ name: "windows" type: "WindowData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'window_data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


def one_window(
    make_net: MakeNet, folder: Path, image: np.ndarray, box: tuple[int, ...], *args: str, **kw
) -> np.ndarray:
    """Return the crop of one window of one image."""
    if not folder.exists():
        window_file(folder, [(image, [(1, 1.0, *box)])])
    return batch(make_net(window_layer(folder / "windows.txt", 1, "fg_fraction: 1 " + args[0], args[1]), **kw))[0][0]


def by_the_book(
    image: np.ndarray, box: tuple[int, ...], crop_size: int, context_pad: int, square: bool, mirrored: bool
) -> np.ndarray:
    """Warp as in R-CNN, pixel by pixel; -1 where nothing is written. ``image`` is (H, W, 3), the crop (3, H, W)."""
    f, crop = np.float32, np.full((3, crop_size, crop_size), -1, np.float32)
    x1, y1, x2, y2 = box
    pad_w = pad_h = 0
    width = height = crop_size

    def rounded(x: np.float32) -> int:
        return math.floor(float(x) + 0.5) if x >= 0 else -math.floor(-float(x) + 0.5)

    if context_pad > 0 or square:
        scale = f(crop_size) / f(crop_size - 2 * context_pad)
        half_height, half_width = f(y2 - y1 + 1) / f(2), f(x2 - x1 + 1) / f(2)
        center_x, center_y = f(x1) + half_width, f(y1) + half_height
        if square:
            if half_height > half_width:
                half_width = half_height
            else:
                half_height = half_width
        x1, x2 = rounded(center_x - half_width * scale), rounded(center_x + half_width * scale)
        y1, y2 = rounded(center_y - half_height * scale), rounded(center_y + half_height * scale)
        unclipped_height, unclipped_width = y2 - y1 + 1, x2 - x1 + 1
        pad_x1, pad_y1 = max(0, -x1), max(0, -y1)
        pad_x2, pad_y2 = max(0, x2 - image.shape[1] + 1), max(0, y2 - image.shape[0] + 1)
        x1, x2, y1, y2 = x1 + pad_x1, x2 - pad_x2, y1 + pad_y1, y2 - pad_y2
        scale_x, scale_y = f(crop_size) / f(unclipped_width), f(crop_size) / f(unclipped_height)
        width, height = rounded(f(x2 - x1 + 1) * scale_x), rounded(f(y2 - y1 + 1) * scale_y)
        pad_x1, pad_x2 = rounded(f(pad_x1) * scale_x), rounded(f(pad_x2) * scale_x)
        pad_h = rounded(f(pad_y1) * scale_y)
        pad_w = pad_x2 if mirrored else pad_x1
        if pad_h + height > crop_size:
            height = crop_size - pad_h
        if pad_w + width > crop_size:
            width = crop_size - pad_w
    if width < 1 or height < 1:
        return crop
    patch = cv2.resize(image[y1 : y2 + 1, x1 : x2 + 1], (width, height), interpolation=cv2.INTER_LINEAR)
    if mirrored:
        patch = cv2.flip(patch, 1)
    for h in range(height):
        for w in range(width):
            crop[:, h + pad_h, w + pad_w] = patch[h, w]
    return crop


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_are_warped_by_the_book(data: st.DataObject, make_net: MakeNet, tmp_path_factory) -> None:
    """Test windows that touch the image, with any context, warped or square, mirrored or not."""
    height, width = data.draw(st.integers(1, 40), "height"), data.draw(st.integers(1, 40), "width")
    crop_size = data.draw(st.integers(3, 24), "crop_size")
    context_pad = data.draw(st.integers(0, (crop_size - 1) // 2), "context_pad")
    square = data.draw(st.booleans(), "square")
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x1, y1, data.draw(st.integers(x1, width - 1)), data.draw(st.integers(y1, height - 1)))
    image = random_images(1, (3, height, width))[0]
    folder = tmp_path_factory.mktemp("window") / "images"
    more = f"context_pad: {context_pad} crop_mode: '{'square' if square else 'warp'}'"
    transform = f"crop_size: {crop_size} mirror: {str(data.draw(st.booleans(), 'mirror')).lower()}"
    crop = one_window(make_net, folder, image, box, more, transform)
    expected = [
        by_the_book(np.ascontiguousarray(image.transpose(1, 2, 0)), box, crop_size, context_pad, square, mirrored)
        for mirrored in (False, True)
    ]
    matches = [np.array_equal(crop, np.where(one < 0, 0, one)) for one in expected]
    assert any(matches) if "true" in transform else matches[0]


def test_a_window_that_fits_is_the_image_itself(make_net: MakeNet, tmp_path: Path) -> None:
    image = random_images(1, (3, 20, 30))[0]
    crop = one_window(make_net, tmp_path / "one", image, (5, 7, 12, 14), "", "crop_size: 8")
    assert (crop == image[:, 7:15, 5:13]).all()


def test_mean_and_scale_and_zeros_outside(make_net: MakeNet, tmp_path: Path) -> None:
    """The centre of the mean image is subtracted at each position in the crop; outside the image the result is 0."""
    image = random_images(1, (3, 20, 20))[0]
    mean = np.random.default_rng(0).normal(100, 20, (3, 14, 12)).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(array_to_blobproto(mean).SerializeToString())
    box, more = (0, 0, 3, 3), "context_pad: 2 scale: 0.5"
    plain = by_the_book(np.ascontiguousarray(image.transpose(1, 2, 0)), box, 8, 2, False, False)
    assert (plain < 0).any()
    folder = tmp_path / "one"
    for transform, subtracted in [
        ("", 0),
        ("mean_value: 100", 100),
        ("mean_value: 100 mean_value: 110 mean_value: 120", np.array([100, 110, 120])[:, None, None]),
        (f'mean_file: "{path.as_posix()}"', mean[:, 2:10, 2:10]),
    ]:
        crop = one_window(make_net, folder, image, box, more, f"crop_size: 8 {transform}")
        expected = np.where(plain < 0, 0, (plain - np.float32(subtracted)) * np.float32(0.5))
        np.testing.assert_array_equal(crop, expected.astype(np.float32))


@pytest.mark.parametrize(("fraction", "objects"), [(0.25, 4), (0, 0), (1, 16), (0.3, 4), (0.99, 15)])
def test_background_first_then_so_many_objects(
    make_net: MakeNet, tmp_path: Path, fraction: float, objects: int
) -> None:
    net = make_net(window_layer(random_windows(tmp_path / "images", 4), 16, f"fg_fraction: {fraction}"))
    for _ in range(3):
        labels = batch(net)[1]
        assert (labels[: 16 - objects] == 0).all()
        assert (labels[16 - objects :] > 0).all()


def test_thresholds_choose_and_every_window_has_its_turn(make_net: MakeNet, tmp_path: Path) -> None:
    images: list[tuple[np.ndarray, list[Window]]] = []
    for value in range(6):  # the pixels of a window encode its overlap and class
        overlap = value / 10
        images.append((np.full((3, 9, 9), value, np.uint8), [(value + 1, overlap, 0, 0, 8, 8)]))
    source = window_file(tmp_path / "images", images)
    more = "fg_threshold: 0.4 bg_threshold: 0.2 fg_fraction: 0.5"
    data, labels = batch(make_net(window_layer(source, 200, more), TRAIN, seed=1))
    assert all((crop == crop[0, 0, 0]).all() for crop in data)
    values = data[:, 0, 0, 0]
    counts = np.bincount(values.astype(int), minlength=6)
    assert (labels == np.where(values < 2, 0, values + 1)).all()
    assert counts[2] == counts[3] == 0
    assert counts[[0, 1]].sum() == counts[[4, 5]].sum() == 100
    assert (counts[[0, 1, 4, 5]] > 30).all()


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_mirroring_is_by_chance(make_net: MakeNet, tmp_path: Path, phase: int) -> None:
    image = random_images(1, (3, 8, 8))[0]
    source = window_file(tmp_path / "one", [(image, [(1, 1.0, 0, 0, 7, 7)])])
    text = window_layer(source, 100, "fg_fraction: 1", "crop_size: 8 mirror: true")
    data, _ = batch(make_net(text, phase, seed=2))
    straight = [(crop == image).all() for crop in data]
    assert [(crop == image[:, :, ::-1]).all() for crop in data] == [not one for one in straight]
    assert 25 < sum(straight) < 75


def test_the_log_is_the_originals(make_net: MakeNet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    source = random_windows(tmp_path / "images", 101)
    make_net(window_layer(source, transform="crop_size: 8 scale: 2"))
    assert "Number of images: 101" in caplog.messages
    assert "class 0 has 303 samples" in caplog.messages
    assert "class 1 has 52 samples" in caplog.messages
    assert "output data size: 4,3,8,8" in caplog.messages
    assert sum(message.startswith("num: ") for message in caplog.messages) == 2
    assert "scale in transform_param is ignored: scale in window_data_param is 1" in caplog.messages


def test_cached_files_are_read_once(make_net: MakeNet, tmp_path: Path) -> None:
    source = random_windows(tmp_path / "images", 1)
    plain, cached = (make_net(window_layer(source, 4, more), seed=1) for more in ("", "cache_images: true"))
    assert (batch(plain)[0] == batch(cached)[0]).all()
    (source.parent / "im0.png").unlink()

    def run(net: Net) -> None:
        for _ in range(8):  # more than are read ahead
            net.forward()

    run(cached)
    with pytest.raises(DataError, match="it is not there"):
        run(plain)


def test_root_folder_and_paths_beside_the_prototxt(
    make_net: MakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random_windows(tmp_path / "images", 3)
    text = source.read_text(encoding="utf-8").replace(tmp_path.as_posix() + "/images/", "")
    source.write_text(text, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    net = make_net(window_layer(Path("images/windows.txt"), 4, 'root_folder: "images/"'))
    assert batch(net)[0].shape == (4, 3, 8, 8)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (("batch_size: 4", "batch_size: 0"), LayerError, "batch_size is 0. Give window_data_param a batch_size"),
        (("source: ", "root_folder: "), LayerError, "there is no source"),
        (("crop_size: 8", ""), LayerError, "crop_size is 0, with a context_pad of 0"),
        (("batch_size: 4", "batch_size: 4 context_pad: 4"), LayerError, "crop_size is 8, with a context_pad of 4"),
        (("batch_size: 4", "batch_size: 4 crop_mode: 'wrap'"), LayerError, "crop_mode 'wrap' is unknown. Write warp"),
        (("batch_size: 4", "batch_size: 4 fg_fraction: 1.5"), LayerError, "fg_fraction is 1.5"),
        (("batch_size: 4", "batch_size: 4 crop_size: 8 mirror: true"), LayerError, "holds crop_size and mirror"),
        (("batch_size: 4", "batch_size: 4 fg_threshold: 2"), LayerError, "needs 1 windows of the foreground, and "),
        (("batch_size: 4", "batch_size: 4 bg_threshold: -1"), LayerError, "needs 3 windows of the background, and "),
        (("windows.txt", "lost.txt"), DataError, "there is no file "),
        (("crop_size: 8", "crop_size: 8 mean_value: 1 mean_value: 2"), DataError, "mean_value is given 2 times"),
    ],
)
def test_errors_name_the_layer(
    make_net: MakeNet, tmp_path: Path, change: tuple[str, str], kind: type[CaffeError], message: str
) -> None:
    text = window_layer(random_windows(tmp_path / "images", 2))
    assert change[0] in text
    with pytest.raises(kind) as caught:
        make_net(text.replace(*change))
    assert 'layer "windows" (WindowData): ' in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 7), (3, 7, 8), (3, 9, 14)])
def test_a_mean_image_that_does_not_cover_the_crop(make_net: MakeNet, tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(array_to_blobproto(np.ones(shape)).SerializeToString())
    source = random_windows(tmp_path / "images", 2)
    with pytest.raises(DataError, match=r"the image in mean_file is .* It needs 3 channels, and at least crop_size 8"):
        make_net(window_layer(source, transform=f'crop_size: 8 mean_file: "{path.as_posix()}"'))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ', layer "windows" (WindowData): the window file is empty'),
        ("a.png\n", ":1:1, layer \"windows\" (WindowData): it is 'a.png' where '# 0' should begin an image. Number"),
        ("# 1\na.png\n", ":1:1, layer \"windows\" (WindowData): it is '# 1' where '# 0' should begin an image"),
        ("# 0\n", ':1:1, layer "windows" (WindowData): the window file ends behind this line, where the path'),
        (
            "# 0\na.png\n3\n5\n",
            ':4:1, layer "windows" (WindowData): the window file ends behind this line, where width',
        ),
        (
            "# 0\na.png\n3\nx\n",
            ":4:1, layer \"windows\" (WindowData): 'x' stands where height should be, a whole number",
        ),
        ("# 0\na.png\n3\n5\n5\n-1\n", ":6:1, layer \"windows\" (WindowData): '-1' stands where the number of windows"),
        ("# 0\na.png\n3\n5\n5\n2\n1 1 0 0 1 1\n", ':7:1, layer "windows" (WindowData): the window file ends behind'),
        ("# 0\na.png\n3\n5\n5\n2\n", ':6:1, layer "windows" (WindowData): the window file ends behind this line'),
        ("# 0\na.png\n3\n5\n5\n2\n1 1 0 0 1 1\n1 1 0 0 1\n", ":8:1, layer \"windows\" (WindowData): '1 1 0 0 1' is no"),
        ("# 0\na.png\n3\n5\n5\n1\n1 1 0 0 x 1\n", ":7:1, layer \"windows\" (WindowData): '1 1 0 0 x 1' is no window"),
        ("# 0\na.png\n3\n5\n5\n1\n1 1 0 0.5 1 1\n", ":7:1, layer \"windows\" (WindowData): '1 1 0 0.5 1 1' is no"),
        ("# 0\na.png\n3\n5\n5\n1\n1 nan 0 0 1 1\n", ":7:1, layer \"windows\" (WindowData): '1 nan 0 0 1 1' is no"),
        ("# 0\na.png\n3\n5\n5\n1\n1 1 0 0 3e9 1\n", ":7:1, layer \"windows\" (WindowData): '1 1 0 0 3e9 1' is no"),
        ("# 0\na.png\n3\n5\n5\n1\n0 1 0 0 1 1\n", ':7:1, layer "windows" (WindowData): the window is of class 0'),
        ("# 0\na.png\n3\n5\n5\n1\n1 1 2 0 1 1\n", ':7:1, layer "windows" (WindowData): the window has its x2 before'),
        ("# 0\na.png\n3\n5\n5\n1\n1 0 0 2 1 1\n", ':7:1, layer "windows" (WindowData): the window has its y2 before'),
        ("# 0\na.png\n3\n5\n5\n1\n1 1 0 0 1 1\n1 1 0 0 1 1\n", ':8:1, layer "windows" (WindowData): it is \'1 1 0'),
    ],
)
def test_window_files_that_are_not_as_they_should_be(
    make_net: MakeNet, tmp_path: Path, content: str, message: str
) -> None:
    source = tmp_path / "windows.txt"
    source.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        make_net(window_layer(source))
    assert str(caught.value).startswith(source.as_posix() + message)


@pytest.mark.parametrize(("box", "more"), [((0, 0, 8, 9), ""), ((-1, 0, 8, 8), ""), ((20, 0, 29, 8), "context_pad: 1")])
def test_a_window_outside_its_image(make_net: MakeNet, tmp_path: Path, box: tuple[int, ...], more: str) -> None:
    image = random_images(1, (3, 9, 9))[0]
    with pytest.raises(DataError) as caught:
        one_window(make_net, tmp_path / "one", image, box, more, "crop_size: 8")
    place = f'{(tmp_path / "one/windows.txt").as_posix()}:7:1, layer "windows" (WindowData): '
    assert str(caught.value).startswith(f"{place}the window {' '.join(map(str, box))} is not inside the image ")
    assert "which is 9 x 9" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "it is not there: looked for"), (b"x", "OpenCV cannot decode")]
)
def test_an_image_that_cannot_be_read(make_net: MakeNet, tmp_path: Path, content: bytes | None, message: str) -> None:
    source = random_windows(tmp_path / "images", 1)
    image = source.parent / "im0.png"
    image.unlink() if content is None else image.write_bytes(content)
    with pytest.raises(DataError) as caught:
        make_net(window_layer(source)).forward()
    place = f'{source.as_posix()}:2:1, layer "windows" (WindowData): '
    assert str(caught.value).startswith(f"{place}the image {image.as_posix()!r} cannot be used: {message}")


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, bytes]:
    """Write a window file; return it and its contents."""
    source = random_windows(tmp_path / "images", 2)
    return source, source.read_bytes()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_a_batch(
    data: st.DataObject, sound: tuple[Path, bytes], make_net: MakeNet
) -> None:
    source, content = sound[0], bytearray(sound[1])
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"0123456789-. \n#e")))
    else:
        del content[at:]
    source.write_bytes(content)
    more = data.draw(st.sampled_from(["", "context_pad: 3", "crop_mode: 'square'"]))
    try:
        values, _ = batch(make_net(window_layer(source, 16, more)))
    except CaffeError:
        return
    assert np.isfinite(values).all()
