from __future__ import annotations

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, StringIO

import numpy as np
import pytest

from caffe_lite import io
from caffe_lite.errors import DataError, MissingExtra

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(7, 5), (20, 33), (3, 40), (12, 12), (1, 1)])
@pytest.mark.parametrize("order", [0, 1])
def test_resizing_equals_scikit_image(channels, size, order):
    transform = pytest.importorskip("skimage.transform")
    image = RANDOM.normal(scale=50, size=(12, 10, channels))
    low, high = image.min(), image.max()
    expected = transform.resize((image - low) / (high - low), size, order=order, mode="constant", anti_aliasing=False)
    np.testing.assert_allclose(io.resize_image(image, size, order), expected * (high - low) + low, atol=1e-3)


@pytest.mark.parametrize("size", [(7, 5), (20, 33), (1, 40)])
def test_resizing_other_numbers_of_channels_equals_scipy(size):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = RANDOM.normal(size=(12, 10, 4))
    expected = ndimage.zoom(image, (size[0] / 12, size[1] / 10, 1), order=1)
    np.testing.assert_allclose(io.resize_image(image, size), expected, atol=1e-5)


def test_resizing_by_hand():
    image = np.array([[0, 4], [8, 12]], np.uint8)[:, :, None]
    same = io.resize_image(image, (2, 2))
    assert same.dtype == np.float32 and same.tolist() == image.tolist()
    assert io.resize_image(image, (1, 1)).tolist() == [[[6]]]
    # The borders of rows are blended with the outside, which has the value of the darkest pixel.
    assert io.resize_image(image + 1, (2, 4))[1, :, 0].tolist() == [7, 10, 12, 10]
    assert io.resize_image(np.full((2, 2, 3), 9.0), (3, 3)).tolist() == np.full((3, 3, 3), 9.0).tolist()


def test_what_cannot_be_resized():
    for image, size, order in [
        (np.zeros((2, 2)), (3, 3), 1),
        (np.zeros((2, 0, 3)), (3, 3), 1),
        (np.zeros((2, 2, 3)), (0, 3), 1),
        (np.zeros((2, 2, 3)), (3, 3), 6),
    ]:
        with pytest.raises(DataError):
            io.resize_image(image, size, order)


@pytest.mark.parametrize("channels", [3, 4])
def test_splines_are_scikit_images(channels):
    transform, ndimage = pytest.importorskip("skimage.transform"), pytest.importorskip("scipy.ndimage")
    image = RANDOM.random((6, 7, channels))
    if channels == 3:
        low, span = image.min(), np.ptp(image)
        standard = (image - low) / span
        expected = transform.resize(standard, (9, 5, 3), order=3, mode="constant", anti_aliasing=False) * span + low
    else:
        expected = ndimage.zoom(image, (9 / 6, 5 / 7, 1), order=3)
    np.testing.assert_allclose(io.resize_image(image, (9, 5), 3), expected, atol=1e-6)
    assert (io.resize_image(np.full((4, 4, 3), 0.5), (6, 6), 3)[2:4, 2:4] == 0.5).all()


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 7, 3), (6, 7, 5)])
@pytest.mark.parametrize("order", [0, 1])
def test_resize_is_scikit_images_of_old(shape, order):
    transform = pytest.importorskip("skimage.transform")
    image = RANDOM.random(shape)
    image[:, 3] = image.min()  # at its ends, blended with the outside, it would be darker than any pixel
    for size in ((9, 5), (3, 11), (6, 7)):
        expected = transform.resize(image, (*size, *shape[2:]), order=order, mode="constant", anti_aliasing=False)
        np.testing.assert_allclose(io.resize(image, size, order=order), expected, atol=1e-6)
        np.testing.assert_allclose(io.resize(image, (*size, *shape[2:]), order), expected, atol=1e-6)
    expected = transform.resize(image, (9, 5, *shape[2:]), order=order, mode="edge", anti_aliasing=True)
    np.testing.assert_allclose(io.resize(image, (9, 5, *shape[2:]), order, "edge", anti_aliasing=True), expected)


def test_resize_brings_bytes_to_0_to_1():
    image = RANDOM.integers(0, 256, (4, 4, 3), np.uint8)
    np.testing.assert_allclose(io.resize(image, (4, 4)), image / 255)
    np.testing.assert_allclose(io.resize(image, (4, 4), preserve_range=True), image)
    for size in ((4, 4, 1), (0, 4), (4,)):
        with pytest.raises(ValueError, match="cannot be resized"):
            io.resize(image, size)


def test_scikit_image_and_scipy_are_there_when_asked_for():
    skimage = pytest.importorskip("skimage")
    assert io.skimage is skimage and io.skimage.io.imread and io.skimage.transform.resize
    np.testing.assert_array_equal(io.zoom(np.eye(2), 2, order=0), np.eye(2).repeat(2, 0).repeat(2, 1))
    with pytest.raises(AttributeError, match="has no attribute 'skimages'"):
        io.skimages  # noqa: B018


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    for use in (lambda: io.skimage, lambda: io.zoom, lambda: io.resize(np.zeros((2, 2)), (3, 3), order=3)):
        with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[images\]'"):
            use()


def test_images_of_files(tmp_path):
    cv2 = pytest.importorskip("cv2")
    rgb = RANDOM.integers(0, 256, (4, 5, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "color.png"), rgb[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "gray.png"), rgb[:, :, 0])
    cv2.imwrite(str(tmp_path / "clear.png"), np.dstack([rgb[:, :, ::-1], rgb[:, :, 0]]))
    cv2.imwrite(str(tmp_path / "deep.png"), rgb[:, :, 0].astype(np.uint16) * 257)
    for name in ("color", "clear"):
        image = io.load_image(tmp_path / f"{name}.png")
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, rgb / 255, atol=1e-6)
    np.testing.assert_allclose(io.load_image(tmp_path / "gray.png"), np.dstack([rgb[:, :, 0]] * 3) / 255, atol=1e-6)
    np.testing.assert_allclose(io.load_image(tmp_path / "deep.png", False), rgb[:, :, :1] / 255, atol=1e-6)
    luminance = rgb / 255 @ [[0.2125], [0.7154], [0.0721]]
    np.testing.assert_allclose(io.load_image(tmp_path / "color.png", color=False), luminance, atol=1e-6)


def test_images_of_open_files_and_urls(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "a b.png"
    cv2.imwrite(str(path), RANDOM.integers(0, 256, (4, 5, 3), np.uint8))
    expected = io.load_image(str(path))
    with path.open("rb") as file:
        np.testing.assert_array_equal(io.load_image(file), expected)
    np.testing.assert_array_equal(io.load_image(BytesIO(path.read_bytes())), expected)
    np.testing.assert_array_equal(io.load_image(path.as_uri(), color=True), expected)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        np.testing.assert_array_equal(io.load_image(url + "a%20b.png"), expected)
        with pytest.raises(OSError, match=r"nothing\.png' cannot be read: File not found"):
            io.load_image(url + "nothing.png")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    for wrong, what in (
        ((tmp_path / "no.png").as_uri(), "no.png' cannot be read"),
        (BytesIO(b"no image"), "the image 'BytesIO' cannot be read: OpenCV cannot decode"),
        (StringIO("text"), "the image 'StringIO' cannot be read: its read\\(\\) gives str, not bytes"),
        (3, "the image 3 cannot be read"),
    ):
        for wanted in (DataError, OSError):
            with pytest.raises(wanted, match=what):
                io.load_image(wrong)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_files_that_hold_no_image(tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name}' cannot be read"):
            io.load_image(tmp_path / name)


def test_ten_crops():
    images = RANDOM.normal(size=(2, 6, 7, 3)).astype(np.float32)
    crops = io.oversample(images, (4, 4))
    assert crops.shape == (20, 4, 4, 3) and crops.dtype == np.float32
    first = images[0]
    for crop, (top, left) in zip(crops, [(0, 0), (0, 3), (2, 0), (2, 3), (1, 1)], strict=False):
        np.testing.assert_array_equal(crop, first[top : top + 4, left : left + 4])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10], images[1, :4, :4])
    for wrong, wanted in (([], IndexError), ([first, first[:-1]], ValueError), ([first[:3]], ValueError)):
        with pytest.raises(wanted) as error:
            io.oversample(wrong, (4, 4))
        assert isinstance(error.value, DataError)


@pytest.fixture
def transformer():
    return io.Transformer({"data": (1, 3, 4, 5)})


def test_into_the_net_and_back(transformer):
    transformer.set_input_scale("data", 0.5)
    transformer.set_mean("data", np.array([1.0, 2, 3]))
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_transpose("data", (2, 0, 1))
    image = RANDOM.random((4, 5, 3)).astype(np.float32)
    before = image.copy()
    data = transformer.preprocess("data", image)
    expected = (image[:, :, ::-1].transpose(2, 0, 1) * 255 - np.array([1, 2, 3])[:, None, None]) * 0.5
    np.testing.assert_allclose(data, expected, rtol=1e-5)
    np.testing.assert_allclose(transformer.deprocess("data", data[None]), image, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(image, before)


def test_nothing_set_changes_nothing_and_writes_nowhere(transformer):
    image = RANDOM.random((4, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(transformer.preprocess("data", image), image)
    transformer.set_raw_scale("data", 2)
    before = image.copy()
    transformer.preprocess("data", image)
    np.testing.assert_array_equal(image, before)


def test_images_of_another_size_are_resized(transformer):
    transformer.set_transpose("data", (2, 0, 1))
    image = RANDOM.random((9, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        transformer.preprocess("data", image), io.resize_image(image, (4, 5)).transpose(2, 0, 1)
    )


def test_one_channel_comes_back_with_its_axis():
    transformer = io.Transformer({"data": [10, 1, 4, 5]})
    transformer.set_transpose("data", (2, 0, 1))
    image = RANDOM.random((4, 5, 1)).astype(np.float32)
    np.testing.assert_array_equal(transformer.deprocess("data", transformer.preprocess("data", image)), image)


@pytest.mark.parametrize("shape", [(3,), (4, 5), (3, 4, 5), (1, 4, 5)])
def test_means(transformer, shape):
    mean = RANDOM.random(shape).astype(np.float32)
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", mean)
    data = transformer.preprocess("data", np.zeros((4, 5, 3)))
    np.testing.assert_array_equal(data, np.broadcast_to(-(mean[:, None, None] if len(shape) == 1 else mean), (3, 4, 5)))


def test_a_mean_of_another_size_is_resized(transformer):
    mean = RANDOM.random((3, 8, 8))
    transformer.set_mean("data", mean)
    expected = io.resize_image(mean.transpose(1, 2, 0), (4, 5)).transpose(2, 0, 1)
    np.testing.assert_array_equal(transformer.mean["data"], expected)


@pytest.mark.parametrize(
    ("method", "value", "what"),
    [
        ("set_transpose", (1, 0), "same number of dimensions as the input"),
        ("set_transpose", (1, 1, 0), "each of 0 to 2 once"),
        ("set_channel_swap", (1, 0), "has channels: 3"),
        ("set_mean", np.zeros(4), "Mean channels incompatible with input"),
        ("set_mean", np.zeros((1, 3, 4, 5)), "Mean shape invalid"),
        ("set_mean", np.zeros((2, 4, 5)), "Mean shape invalid"),
    ],
)
def test_settings_that_do_not_fit(transformer, method, value, what):
    with pytest.raises(ValueError, match=what):
        getattr(transformer, method)("data", value)


@pytest.mark.parametrize(
    "method", ["set_transpose", "set_channel_swap", "set_raw_scale", "set_mean", "set_input_scale"]
)
def test_inputs_that_the_net_lacks(transformer, method):
    with pytest.raises(DataError, match="dada is not one of the net inputs: data"):
        getattr(transformer, method)("dada", (2, 1, 0))
    with pytest.raises(DataError, match="dada is not one"):
        transformer.preprocess("dada", np.zeros((4, 5, 3)))


def test_images_that_do_not_fit_what_is_set(transformer):
    transformer.set_channel_swap("data", (2, 1, 0))
    with pytest.raises(DataError, match="has not the channels to swap"):
        transformer.preprocess("data", np.zeros((4, 5, 3)))
    transformer = io.Transformer({"data": (1, 3, 4, 5)})
    transformer.set_mean("data", np.zeros((3, 4, 5)))
    with pytest.raises(DataError, match="Is a set_transpose missing"):
        transformer.preprocess("data", np.zeros((4, 5, 3)))
