"""Lists of image files, converted to databases as by the original's convert_imageset."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.databases.datum import decode_datum
from caffe_lite.data.databases.opening import open_database
from caffe_lite.data.imageset import convert_imageset
from caffe_lite.errors import DataError
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import random_images

cv2 = pytest.importorskip("cv2")

NAMES = ["0.png", "cats/1.png", "cats/a b.png", "3.bmp"]
LABELS = [3, 0, -1, 2147483647]


class Folder:
    """A list ``list.txt`` of four colour images of 6 x 7 under ``images``; ``convert`` makes a database ``out``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "images"
        self.images = random_images(4)
        (self.root / "cats").mkdir(parents=True)
        for name, image in zip(NAMES, self.images, strict=True):
            self.write(name, image)
        self.list("".join(f"{name} {label}\n" for name, label in zip(NAMES, LABELS, strict=True)))

    def write(self, name: str, image: np.ndarray) -> None:
        content = cv2.imencode(Path(name).suffix, image.transpose(1, 2, 0))[1]
        (self.root / name).write_bytes(content.tobytes())

    def list(self, text: str) -> None:
        (self.path / "list.txt").write_text(text, encoding="utf-8")

    def convert(self, root: str | None = None, **options) -> int:
        root = f"{self.root}/" if root is None else root
        return convert_imageset(root, str(self.path / "list.txt"), str(self.path / "out"), **options)

    def records(self, backend: str = "LMDB") -> list[tuple[bytes, caffe_pb2.Datum]]:
        database = open_database(str(self.path / "out"), caffe_pb2.DataParameter.DB.Value(backend))
        try:
            return [(key, caffe_pb2.Datum.FromString(value)) for key, value in database.records()]
        finally:
            database.close()

    def pixels(self) -> list[np.ndarray]:
        return [decode_datum(datum.SerializeToString())[0] for _, datum in self.records()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("backend", ["LMDB", "LEVELDB"])
def test_keys_labels_and_pixels(folder: Folder, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    assert folder.convert(backend=backend.lower()) == 4
    assert caplog.messages == ["A total of 4 images.", "Processed 4 files."]
    records = folder.records(backend)
    assert [key for key, _ in records] == [b"%08d_%s" % (i, name.encode()) for i, name in enumerate(NAMES)]
    for (_, datum), label, image in zip(records, LABELS, folder.images, strict=True):
        assert (datum.channels, datum.height, datum.width, datum.label) == (3, 6, 7, label)
        assert datum.data == image.tobytes()
        assert not datum.encoded


@pytest.mark.parametrize(("root", "slash"), [("images/", ""), ("images", ""), ("images", "/"), ("", "images/")])
def test_where_names_begin(folder: Folder, root: str, slash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    folder.list("".join(f"{slash}{name} 0\n" for name in NAMES))
    assert folder.convert(root) == 4
    assert [key for key, _ in folder.records()][1].decode() == f"00000001_{slash}cats/1.png"


def test_gray(folder: Folder) -> None:
    folder.convert(gray=True)
    for datum, name in zip(folder.pixels(), NAMES, strict=True):
        assert (datum == cv2.imread(str(folder.root / name), cv2.IMREAD_GRAYSCALE)[None]).all()


@pytest.mark.parametrize("gray", [False, True])
def test_resizing(folder: Folder, gray: bool) -> None:
    folder.convert(size=(4, 12), gray=gray)
    for datum, name in zip(folder.pixels(), NAMES, strict=True):
        pixels = cv2.imread(str(folder.root / name), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
        expected = cv2.resize(pixels, (12, 4)).reshape(4, 12, -1).transpose(2, 0, 1)
        assert (datum == expected).all()


def test_shuffling(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    folder.list("".join(f"{NAMES[i % 4]} {i}\n" for i in range(40)))
    folder.convert(shuffle=True, seed=1)
    records = folder.records()
    labels = [datum.label for _, datum in records]
    assert caplog.messages[:2] == ["Shuffling data", "A total of 40 images."]
    assert sorted(labels) == list(range(40)) != labels
    assert [key for key, _ in records] == [b"%08d_%s" % (i, NAMES[at % 4].encode()) for i, at in enumerate(labels)]


def test_encoded_files_stay_as_they_are(folder: Folder) -> None:
    folder.convert(encoded=True)
    for (_, datum), name, label in zip(folder.records(), NAMES, LABELS, strict=True):
        assert datum == caffe_pb2.Datum(encoded=True, label=label, data=(folder.root / name).read_bytes())


def test_jpeg_is_jpg(folder: Folder) -> None:
    for name in ("a.jpeg", "b.JPG"):
        folder.write(name, folder.images[0])
    folder.list("a.jpeg 0\nb.JPG 1\n")
    folder.convert(encode_type="jpg")
    assert [datum.data for _, datum in folder.records()] == [
        (folder.root / name).read_bytes() for name in ("a.jpeg", "b.JPG")
    ]


@pytest.mark.parametrize("options", [{"encode_type": "png"}, {"encoded": True, "encode_type": "PNG", "size": (6, 7)}])
def test_encoded_anew(folder: Folder, options: dict, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    folder.convert(**options)
    assert ("encode_type specified, assuming encoded=true." in caplog.messages) == ("encoded" not in options)
    for (_, datum), pixels, image in zip(folder.records(), folder.pixels(), folder.images, strict=True):
        assert datum.encoded
        assert datum.data.startswith(b"\x89PNG")
        assert (pixels == image).all()


def test_a_file_that_cannot_be_read_is_left_out(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    (folder.root / "cats" / "1.png").unlink()
    (folder.root / "3.bmp").write_bytes(b"no image")
    assert folder.convert() == 2
    assert [key for key, _ in folder.records()] == [b"00000000_0.png", b"00000002_cats/a b.png"]
    assert caplog.messages == [
        f"Could not open or find file {folder.root}/cats/1.png: it is not there: looked for {folder.root}/cats/1.png",
        f"Could not open or find file {folder.root}/3.bmp: OpenCV cannot decode its image",
    ]


def test_no_file_can_be_read(folder: Folder) -> None:
    with pytest.raises(DataError, match=r"list\.txt: it names no image that can be read"):
        folder.convert("elsewhere/")
    assert not (folder.path / "out").exists()


@pytest.mark.parametrize("encoded", [False, True])
def test_check_size(folder: Folder, encoded: bool) -> None:
    folder.convert(check_size=True, encoded=encoded)
    (folder.path / "out").rename(folder.path / "first")
    folder.write("cats/1.png", random_images(1, (3, 7, 6))[0])
    message = r"list\.txt:2:1: the image '.*cats/1\.png' is 7 x 6 \(H x W\), the first one 6 x 7"
    with pytest.raises(DataError, match=message):
        folder.convert(check_size=True, encoded=encoded)
    assert sorted(path.name for path in folder.path.iterdir()) == ["first", "images", "list.txt"]
    assert folder.convert(encoded=encoded) == 4


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        (
            {"encode_type": "xyz"},
            "0.png",
            r"list\.txt:1:1: the image '.*0\.png': OpenCV cannot encode it as 'xyz'\. Give",
        ),
        ({"encoded": True, "size": (2, 2)}, "plain", r"the image '.*plain': its name does not tell how to encode it\."),
    ],
)
def test_what_cannot_be_encoded(folder: Folder, options: dict, name: str, message: str) -> None:
    (folder.root / "0.png").with_name("plain").write_bytes((folder.root / "0.png").read_bytes())
    folder.list(f"{name} 0\n")
    with pytest.raises(DataError, match=message):
        folder.convert(**options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png 1\n\n0.png one\n", r"list\.txt:3:1: the label 'one' is not a whole number of 32 bits"),
        ("", r"list\.txt: the list of images is empty"),
    ],
)
def test_broken_lists(folder: Folder, text: str, message: str) -> None:
    folder.list(text)
    with pytest.raises(DataError, match=message):
        folder.convert()
    assert not (folder.path / "out").exists()


def test_lists_of_any_origin(folder: Folder) -> None:
    folder.list("0.png 1 \r\n\r\ncats/a b.png 2\r\n")
    folder.convert()
    assert [(key, datum.label) for key, datum in folder.records()] == [
        (b"00000000_0.png", 1),
        (b"00000001_cats/a b.png", 2),
    ]


def test_a_missing_list(folder: Folder) -> None:
    (folder.path / "list.txt").unlink()
    with pytest.raises(DataError, match=r"there is no file '.*list\.txt': .*Put it there, or correct the path\."):
        folder.convert()
