"""The size in an image's header is the one that OpenCV decodes."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from caffe_lite.data.images.image_size import stated_size

SIZE = (71, 93)


def encoded(kind: str, channels: int, *options: int) -> bytes:
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, channels), np.uint8)
    try:
        done, data = cv2.imencode(f".{kind}", image, options)
    except cv2.error:
        done = False
    if not done:
        pytest.skip(f"this OpenCV writes no {kind} of {channels} channels")
    assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape[:2] == SIZE
    return data.tobytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_what_opencv_writes(kind: str, channels: int) -> None:
    assert stated_size(encoded(kind, channels)) == SIZE


def test_other_jpegs() -> None:
    """Progressive ones; with restarts; with fill bytes before a marker; with another image inside."""
    cv2 = pytest.importorskip("cv2")
    data = encoded("jpg", 3, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert stated_size(data) == SIZE
    assert stated_size(encoded("jpg", 3, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)) == SIZE
    small = bytes([0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 1, 0, 1, 1, 0, 0, 0])
    within = b"\xff\xe1" + struct.pack(">H", 2 + len(small)) + small
    assert stated_size(data[:2] + within + b"\xff\xff\xff" + data[2:]) == SIZE


def test_webp_with_losses() -> None:
    cv2 = pytest.importorskip("cv2")
    for channels in (3, 4):
        assert stated_size(encoded("webp", channels, cv2.IMWRITE_WEBP_QUALITY, 50)) == SIZE


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["H", "I", "Q"])
def test_tiffs(order: str, kind: str) -> None:
    """Test both byte orders, and each type that the sizes may have; 64 bits are for BigTIFF."""
    number = {"H": 3, "I": 4, "Q": 16}[kind]
    mark = b"II" if order == "<" else b"MM"
    entries = [(256, SIZE[1]), (257, SIZE[0]), (258, 8)]
    if kind == "Q":
        data = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
        entry, room = "HHQ", 8
    else:
        data = mark + struct.pack(order + "HIH", 42, 8, len(entries))
        entry, room = "HHI", 4
    for tag, value in entries:
        data += struct.pack(order + entry, tag, number, 1) + struct.pack(order + kind, value).ljust(room, b"\0")
    assert stated_size(data) == SIZE


def test_old_bitmaps() -> None:
    assert stated_size(b"BM" + bytes(12) + struct.pack("<IHH", 12, SIZE[1], SIZE[0])) == SIZE
    assert stated_size(b"BM" + bytes(12) + struct.pack("<Iii", 40, SIZE[1], -SIZE[0])) == SIZE  # from the top down


@pytest.mark.parametrize("data", [b"", b"P5 3 4 255", b"\xff\xd8\xff\xd9", b"\xff\xd8", b"RIFF0000WEBPVP9 "])
def test_of_others_nothing_is_known(data: bytes) -> None:
    assert stated_size(data) is None


def test_damaged_heads() -> None:
    rng = random.Random(0)
    images = [encoded(kind, 3) for kind in ("png", "jpg", "bmp", "tiff", "webp")]
    for _ in range(5000):
        data = bytearray(rng.choice(images))
        for _ in range(rng.choice([1, 2, 5])):
            data[rng.randrange(60)] = rng.choice([0, 255, rng.randrange(256)])
        size = stated_size(bytes(data[: rng.choice([len(data), rng.randrange(80)])]))
        assert size is None or min(size) >= 0
