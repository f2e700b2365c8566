"""Encoded images come out as OpenCV's imread gives them, which the original calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.image import channels_first, decode_image, read_image_file, resize_image
from caffe_lite.errors import DataError, Where

cv2 = pytest.importorskip("cv2")

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "images"
FLAGS = {True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE, None: cv2.IMREAD_UNCHANGED}
# A TIFF header with one entry: orientation 6, a quarter turn.
TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def written(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture(params=["color.jpg", "color.png", "gray.png", "alpha.png", "deep.png", "color.bmp", "turned.jpg"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Images of many kinds."""
    rng = np.random.default_rng(0)
    shape = {"gray": (9, 14), "alpha": (9, 14, 4)}.get(request.param.partition(".")[0], (9, 14, 3))
    kind = np.uint16 if request.param == "deep.png" else np.uint8
    path = written(tmp_path / request.param, rng.integers(0, np.iinfo(kind).max, shape, kind))
    if request.param == "turned.jpg":
        content = path.read_bytes()
        marker = b"\xff\xe1" + (len(TURNED) + 2).to_bytes(2, "big") + TURNED
        path.write_bytes(content[:2] + marker + content[2:])
    return path


@pytest.mark.parametrize("color", [True, False, None])
def test_it_is_what_imread_gives(image: Path, color: bool | None) -> None:
    expected = cv2.imread(str(image), FLAGS[color])
    decoded = decode_image(read_image_file(str(image), None), color)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == expected.dtype
    if image.name == "turned.jpg":
        assert decoded.shape[:2] == ((14, 9) if color is not None else (9, 14))
    first = channels_first(decoded)
    assert first.shape == ((decoded.shape[2] if decoded.ndim == 3 else 1), *decoded.shape[:2])


def test_resizing_is_bilinear(image: Path) -> None:
    pixels = cv2.imread(str(image))
    np.testing.assert_array_equal(resize_image(pixels, 5, 21), cv2.resize(pixels, (21, 5)))
    assert (resize_image(pixels, *pixels.shape[:2]) == pixels).all()


def test_an_image_beside_the_prototxt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = Where(str(GOLDEN / "net.prototxt"))
    assert read_image_file("im0.png", where) == (GOLDEN / "im0.png").read_bytes()
    with pytest.raises(DataError, match=r"it is not there: looked for .* and .*") as caught:
        read_image_file("im99.png", where)
    assert str(tmp_path / "im99.png") in str(caught.value)
    assert str(GOLDEN / "im99.png") in str(caught.value)


@pytest.mark.parametrize("path", ["", "\0", "."])
def test_paths_that_are_no_files(path: str) -> None:
    with pytest.raises(DataError, match=r"it (is not there|cannot be read): |there can be no such file: "):
        read_image_file(path, None)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(DataError, match="OpenCV cannot make it 2147483648 x 3"):
        resize_image(np.ones((2, 2, 3), np.uint8), 2**31, 3)
