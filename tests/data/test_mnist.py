"""Conversion of IDX files to LMDB, and the databases that come with the repository."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.databases.datum import decode_datum
from caffe_lite.data.mnist import convert_mnist
from caffe_lite.errors import DataError

LENET = Path(__file__).parents[2] / "configs" / "lenet"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


class Files:
    """The two IDX files of a random set."""

    def __init__(self, folder: Path, count: int = 12, size: tuple[int, int] = (5, 4)) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (count, *size), np.uint8)
        self.classes = rng.integers(0, 10, count, np.uint8)
        self.images, self.labels, self.out = (str(folder / name) for name in ("images", "labels", "out_lmdb"))
        Path(self.images).write_bytes(idx(self.pixels))
        Path(self.labels).write_bytes(idx(self.classes))

    def convert(self, **options) -> int:
        return convert_mnist(self.images, self.labels, self.out, **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def records(path: str | Path) -> list[tuple[bytes, bytes]]:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


def images_and_labels(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*(decode_datum(value) for _, value in records(path)), strict=True)
    return np.array(images), np.array(labels)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_image_and_label_arrives(files: Files, compress) -> None:
    for path in (files.images, files.labels):
        Path(path).write_bytes(compress(Path(path).read_bytes()))
    assert files.convert() == 12
    assert [key for key, _ in records(files.out)] == [b"%08d" % i for i in range(12)]
    images, labels = images_and_labels(files.out)
    assert (images == files.pixels[:, None]).all()
    assert (labels == files.classes).all()


def test_a_record_is_what_the_original_writes(files: Files) -> None:
    files.convert()
    fields = b"\x08\x01\x10\x05\x18\x04\x22\x14" + files.pixels[0].tobytes() + b"\x28" + files.classes[:1].tobytes()
    assert records(files.out)[0] == (b"00000000", fields)


def test_limit_takes_the_first(files: Files) -> None:
    assert files.convert(limit=5) == 5
    assert (images_and_labels(files.out)[0] == files.pixels[:5, None]).all()


def test_seed_shuffles_before_limit(files: Files, tmp_path: Path) -> None:
    files.convert(seed=3)
    shuffled, labels = images_and_labels(files.out)
    assert not (shuffled == files.pixels[:, None]).all()
    numbers = [next(i for i in range(12) if (files.pixels[i] == image).all()) for image in shuffled]
    assert sorted(numbers) == list(range(12))
    assert (labels == files.classes[numbers]).all()
    convert_mnist(files.images, files.labels, str(tmp_path / "few"), seed=3, limit=4)
    assert (images_and_labels(tmp_path / "few")[0] == shuffled[:4]).all()


@pytest.mark.parametrize(("option", "value"), [("limit", 0), ("limit", -1), ("seed", -1)])
def test_options_that_make_no_sense(files: Files, option: str, value: int) -> None:
    with pytest.raises(DataError, match=f"the {option} is {value}"):
        files.convert(**{option: value})


@pytest.mark.parametrize("size", [(1, 1), (13, 10), (28, 28), (44, 46), (63, 64), (91, 91), (200, 150)])
def test_the_map_is_large_enough_for_every_size(tmp_path: Path, size: tuple[int, int]) -> None:
    files = Files(tmp_path, 4_000_000 // (400 + size[0] * size[1]), size)
    assert files.convert() == len(files.pixels)
    assert (images_and_labels(files.out)[0] == files.pixels[:, None]).all()


def test_an_existing_database_stays_as_it_is(files: Files) -> None:
    files.convert(limit=3)
    with pytest.raises(DataError, match=r"out_lmdb: it exists already\. Remove it, or choose another name"):
        files.convert()
    assert len(records(files.out)) == 3


def test_only_the_finished_database_is_left(files: Files, tmp_path: Path) -> None:
    files.convert()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels", "out_lmdb"]
    assert [path.name for path in Path(files.out).iterdir()] == ["data.mdb"]


def test_nothing_is_left_when_writing_fails(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", no_space)
    with pytest.raises(DataError, match=r"out_lmdb: cannot write it: No space left on device"):
        files.convert()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels"]


def test_a_missing_folder(files: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Make the folder first: mkdir -p .*deeper"):
        convert_mnist(files.images, files.labels, str(tmp_path / "deeper" / "out"))


LABELS = idx(np.zeros(12, np.uint8))
IMAGES = idx(np.zeros((12, 5, 4), np.uint8))


@pytest.mark.parametrize(
    ("which", "content", "message"),
    [
        ("images", b"", "images: it is not an IDX file of images: it begins with 0, not 2051"),
        ("images", b"<html>", "it begins with 1013478509, not 2051"),
        ("images", LABELS, "It holds labels: give the images first, then the labels"),
        ("labels", IMAGES, "It holds images: give the images first, then the labels"),
        ("images", IMAGES[:-1], "images: it is cut short: 255 bytes of 256. Download it again"),
        ("images", IMAGES[:9], "it is cut short: 9 bytes of 16"),
        ("labels", LABELS[:-1], "labels: it is cut short: 19 bytes of 20"),
        ("images", gzip.compress(IMAGES, mtime=0)[:-9], "images: its gzip stream is broken"),
        ("images", gzip.compress(IMAGES, mtime=0)[:12] + b"\xff" * 20, "images: its gzip stream is broken"),
        ("images", gzip.compress(IMAGES[:-1], mtime=0), "it is cut short: 255 bytes of 256"),
        ("labels", idx(np.zeros(11, np.uint8)), "holds 12 images, "),
        ("images", idx(np.zeros((12, 0, 4), np.uint8)), "images: there are no images in it"),
        ("images", IMAGES + b"x", "images: it goes on behind the 256 bytes of its 12 images. It is damaged"),
        ("labels", gzip.compress(LABELS + b"xy"), "labels: it goes on behind the 20 bytes of its 12 labels"),
        ("labels", gzip.compress(LABELS) + gzip.compress(b"x"), "labels: it goes on behind the 20 bytes"),
        ("images", gzip.compress(IMAGES) + b"tail", "images: its gzip stream is broken"),
        ("images", struct.pack(">4I", 2051, *[2**32 - 1] * 3), "it is cut short: 16 bytes of 79,228,162,4"),
        ("images", gzip.compress(struct.pack(">4I", 2051, *[2**32 - 1] * 3)), "it is cut short: 16 bytes of 79,228"),
    ],
)
def test_broken_files(files: Files, tmp_path: Path, which: str, content: bytes, message: str) -> None:
    (tmp_path / which).write_bytes(content)
    with pytest.raises(DataError) as caught:
        files.convert()
    assert message in str(caught.value)
    assert not Path(files.out).exists()


def test_a_missing_file(files: Files) -> None:
    Path(files.labels).unlink()
    with pytest.raises(DataError, match="labels: cannot read it: No such file"):
        files.convert()


def test_gzip_that_holds_far_more_than_it_says(files: Files) -> None:
    """The file has a gigabyte in one megabyte; no more is read than the header says."""
    pytest.importorskip("resource")
    zeros = gzip.compress(bytes(2**24))
    Path(files.images).write_bytes(gzip.compress(IMAGES) + 64 * zeros)
    script = (
        "import resource, sys\nfrom caffe_lite.data.mnist import convert_mnist\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    convert_mnist(*sys.argv[1:])\nexcept Exception as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, files.images, files.labels, files.out],
        capture_output=True,
        text=True,
        timeout=60,
    )
    message, grown = done.stdout.splitlines()
    assert "it goes on behind the 256 bytes of its 12 images" in message
    assert int(grown) < 30_000 * (1024 if sys.platform == "darwin" else 1)


@pytest.mark.parametrize(("part", "count"), [("train", 5000), ("test", 1000)])
def test_the_sample_in_the_repository(part: str, count: int) -> None:
    folder = LENET / f"fashion_mnist_{part}_lmdb"
    images, labels = images_and_labels(folder)
    assert images.shape == (count, 1, 28, 28)
    assert np.bincount(labels, minlength=10).min() > 0.08 * count
    assert labels.max() == 9
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


def test_the_sample_is_small() -> None:
    assert sum(file.stat().st_size for file in LENET.rglob("data.mdb")) < 5_000_000
