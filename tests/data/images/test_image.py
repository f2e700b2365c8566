"""Encoded images are decoded as by OpenCV's imread, which the original calls."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.images.image import MOST_PIXELS, channels_first, decode_image, read_image_file, resize_image
from caffe_lite.errors import DataError, Where

cv2 = pytest.importorskip("cv2")

GOLDEN = Path(__file__).parents[2] / "golden" / "data" / "images"
FLAGS = {True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE, None: cv2.IMREAD_UNCHANGED}
# A TIFF header with one entry: orientation 6, a quarter turn.
TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def written(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture(params=["color.jpg", "color.png", "gray.png", "alpha.png", "deep.png", "color.bmp", "turned.jpg"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return images of many kinds."""
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


def png(width: int, height: int) -> bytes:
    """Return a black colour image, which PNG compresses to a thousandth of its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + 3 * width)
    stream = zlib.compressobj(9, wbits=-15)
    packed = stream.compress(row) + stream.flush(zlib.Z_FULL_FLUSH)  # every row can be built from this
    checksum = len(row) * height % 65521 << 16 | 1
    pixels = b"\x78\xda" + height * packed + b"\x03\x00" + checksum.to_bytes(4, "big")
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def stated(image: bytes, width: int, height: int) -> bytes:
    """Return the image with other sizes in the header of its PNG."""
    head = b"IHDR" + struct.pack(">II", width, height) + image[24:29]
    return image[:12] + head + struct.pack(">I", zlib.crc32(head)) + image[33:]


@pytest.mark.parametrize("imported_before", [False, True])
@pytest.mark.parametrize("kind", ["png", "pgm"])
def test_an_image_that_would_fill_the_memory(tmp_path: Path, kind: str, imported_before: bool) -> None:
    """1.9 gigabytes in less than two megabytes are refused with little memory; a pgm is refused only by OpenCV."""
    pytest.importorskip("resource")
    if kind == "pgm" and imported_before:
        pytest.skip("nobody knows the size of such a one")
    path = tmp_path / f"image.{kind}"
    path.write_bytes(png(25_000, 25_000) if kind == "png" else b"P5 25000 25000 255\n" + bytes(1000))
    script = (
        ("import cv2\n" if imported_before else "")
        + "import resource, sys\nfrom caffe_lite.data.images.image import decode_image, import_cv2\n"
        "from caffe_lite.io import load_image\nimport_cv2()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load_image(sys.argv[1])\nexcept Exception as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60)
    message, grown = done.stdout.splitlines()
    assert "more than 268,435,456 pixels are not decoded. Make it smaller first, or set OPENCV_IO_MAX_I" in message
    assert (kind == "pgm") == ("its image is too large" in message)
    assert (kind == "png") == ("its image is 25000 x 25000 (H x W)" in message)
    assert int(grown) < 30_000 * (1024 if sys.platform == "darwin" else 1)


def test_the_limit_is_in_pixels() -> None:
    image = png(4, 4)
    assert decode_image(stated(image, 4, 4)).shape == (4, 4, 3)
    for width, height in [(MOST_PIXELS + 1, 1), (2**14, 2**14 + 1), (2**32 - 1, 2**32 - 1)]:
        with pytest.raises(DataError, match=f"its image is {height} x {width} "):
            decode_image(stated(image, width, height))


def test_the_environment_sets_another_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OPENCV_IO_MAX_IMAGE_PIXELS" not in os.environ
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "15")
    with pytest.raises(DataError, match=r"its image is 4 x 4 \(H x W\): more than 15 pixels"):
        decode_image(png(4, 4))
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "16")
    assert decode_image(png(4, 4)).shape == (4, 4, 3)
