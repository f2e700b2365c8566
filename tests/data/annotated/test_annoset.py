"""Lists of images and annotations, converted to databases as by SSD's convert_annoset, and what a net reads there."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.data.annotated.annoset import Annotations, Storage, annotations_of, create_annoset
from caffe_lite.data.annotated.annotated_datum import objects_of
from caffe_lite.data.databases.datum import image_of
from caffe_lite.data.databases.opening import open_database
from caffe_lite.errors import DataError
from caffe_lite.proto.caffe_pb2 import AnnotatedDatum, DataParameter
from tests.data.database_files import random_images

cv2 = pytest.importorskip("cv2")

LABEL_MAP = """item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "cat" label: 1 display_name: "Cat" }
item { name: "dog" label: 2 }
"""
XML = """<annotation><size><width>20</width><height>10</height></size>
<object><name>dog</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>10</xmax><ymax>10</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>20</xmax><ymax>5</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>10</xmin><ymin>0</ymin><xmax>15</xmax><ymax>10</ymax></bndbox></object>
</annotation>"""
OBJECTS = [[2, 0, 0.25, 0.5, 0.5, 1, 0], [2, 1, 0.5, 0, 0.75, 1, 0], [1, 0, 0, 0, 1, 0.5, 1]]
IMAGES = random_images(3, (3, 10, 20))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three PNG images; the annotations of the first have three objects, of the second none, of the third no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for number, image in enumerate(IMAGES):
        cv2.imwrite(f"data/{number}.png", np.ascontiguousarray(image.transpose(1, 2, 0)))
    Path("data/0.xml").write_text(XML)
    Path("data/1.xml").write_text("<annotation><size><width>20</width><height>10</height></size></annotation>")
    Path("list.txt").write_text("0.png 0.xml\n1.png 1.xml\n2.png 2.xml\n")
    Path("map.prototxt").write_text(LABEL_MAP)
    return tmp_path


def made(out: str = "out", backend: str = "lmdb", kind: str = "xml", list_file: str = "list.txt", **options) -> int:
    annotations = annotations_of(kind, "map.prototxt", True)
    return create_annoset("data", list_file, out, annotations=annotations, backend=backend, **options)


def records(out: str = "out", backend: int = DataParameter.LMDB) -> list[tuple[bytes, AnnotatedDatum]]:
    database = open_database(out, backend)
    try:
        return [(key, AnnotatedDatum.FromString(value)) for key, value in database.records()]
    finally:
        database.close()


def test_records(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    assert made() == 3
    written = records()
    assert [key for key, _ in written] == [b"00000000_0.png", b"00000001_1.png", b"00000002_2.png"]
    for (_, record), image in zip(written, IMAGES, strict=True):
        assert record.type == AnnotatedDatum.BBOX
        assert record.HasField("type")
        assert (image_of(record.datum) == image).all()
        assert record.datum.label == -1
    assert objects_of(written[0][1].annotation_group).tolist() == OBJECTS
    assert [group.group_label for group in written[0][1].annotation_group] == [2, 1]
    assert not any(record.annotation_group for _, record in written[1:])
    assert caplog.messages[:3] == [
        "A total of 3 images.",
        "There is no file data/2.xml: the image has no objects",
        "Processed 3 files.",
    ]


def test_a_net_reads_what_was_made(folder: Path, engine: str) -> None:
    made(storage=Storage(encoded=True))
    Path("net.prototxt").write_text(
        'layer { name: "objects" type: "AnnotatedData" top: "data" top: "label" '
        'data_param { source: "out" backend: LMDB batch_size: 2 } }'
    )
    net = Net("net.prototxt", TEST, engine=engine)
    net.forward()
    assert (net.blobs["data"].data == IMAGES[:2]).all()
    assert net.blobs["label"].data[0, 0].tolist() == [[0, *row] for row in OBJECTS]
    net.close()


COCO = """{"image": {"height": 10, "width": 20}, "annotation": [{"category_id": "dog", "bbox": [5, 5, 5, 5]},
{"category_id": "cat", "bbox": [0, 0, 20, 5], "iscrowd": 1}, {"category_id": "dog", "bbox": [10, 0, 5, 10]}]}"""


@pytest.mark.parametrize(("kind", "content"), [("json", COCO), ("txt", "2 5 5 10 10\n1 0 0 20 5\n2 10 0 15 10\n")])
def test_other_files(folder: Path, kind: str, content: str) -> None:
    Path(f"data/0.{kind}").write_text(content)
    Path("one.txt").write_text(f"0.png 0.{kind}\n")
    assert made(kind=kind, list_file="one.txt") == 1
    objects = np.array(OBJECTS)
    objects[2, 6] = kind == "json"
    assert objects_of(records()[0][1].annotation_group).tolist() == objects.tolist()


def test_text_needs_no_label_map(folder: Path) -> None:
    assert annotations_of("txt", "", False) == Annotations("txt", {})
    with pytest.raises(DataError, match=r"annotations of the kind xml hold names\. Give the labels of these: "):
        annotations_of("xml", "", False)


def test_names_that_come_twice(folder: Path) -> None:
    Path("map.prototxt").write_text(LABEL_MAP + 'item { name: "cat" label: 7 } item { name: "kitten" label: 7 }')
    labels = {"none_of_the_above": 0, "cat": 7, "dog": 2, "kitten": 7}
    assert annotations_of("xml", "map.prototxt", False).labels == labels
    with pytest.raises(DataError, match=r"map\.prototxt: 'cat' has the labels 1 and 7\. Give each name one label"):
        annotations_of("xml", "map.prototxt", True)


def test_only_labels(folder: Path) -> None:
    Path("labels.txt").write_text("0.png 7\n2.png -3\n")
    assert create_annoset("data/", "labels.txt", "out") == 2
    written = [record for _, record in records()]
    assert [record.datum.label for record in written] == [7, -3]
    assert not any(record.HasField("type") or record.annotation_group for record in written)


def test_files_are_kept_as_they_are_or_encoded_anew(folder: Path) -> None:
    made("files", storage=Storage(encoded=True))
    for (_, record), number in zip(records("files"), range(3), strict=True):
        assert record.datum.data == Path(f"data/{number}.png").read_bytes()
        assert record.datum.encoded
        assert (record.datum.channels, record.datum.height, record.datum.width) == (3, 10, 20)
    made("jpg", storage=Storage(encode_type="jpg", size=(8, 6)))
    for _, record in records("jpg"):
        assert record.datum.data[:2] == b"\xff\xd8"
        assert image_of(record.datum).shape == (3, 8, 6)
    assert objects_of(records("jpg")[0][1].annotation_group).tolist() == OBJECTS


@pytest.mark.parametrize(
    ("storage", "shape"),
    [
        (Storage(gray=True), (1, 10, 20)),
        (Storage(size=(4, 5)), (3, 4, 5)),
        (Storage(min_dim=15), (3, 15, 30)),
        (Storage(min_dim=5), (3, 10, 20)),
        (Storage(max_dim=10), (3, 5, 10)),
        (Storage(min_dim=15, max_dim=24), (3, 12, 24)),
    ],
)
def test_sizes(folder: Path, storage: Storage, shape: tuple[int, ...]) -> None:
    made(storage=storage)
    assert {image_of(record.datum).shape for _, record in records()} == {shape}


def test_an_encoding_that_opencv_does_not_know(folder: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt:1:1: the image 'data/0\.png': OpenCV cannot encode it as 'xyz'"):
        made(storage=Storage(encode_type="xyz"))


def test_shuffling(folder: Path) -> None:
    Path("labels.txt").write_text("".join(f"{number % 3}.png {number}\n" for number in range(20)))
    for out in ("a", "b"):
        create_annoset("data", "labels.txt", out, shuffle=True, seed=4)
    labels = [[record.datum.label for _, record in records(out)] for out in ("a", "b")]
    assert labels[0] == labels[1] != sorted(labels[0])
    assert sorted(labels[0]) == list(range(20))


def test_a_leveldb(folder: Path) -> None:
    pytest.importorskip("plyvel")
    made(backend="leveldb")
    assert len(records(backend=DataParameter.LEVELDB)) == 3


def test_nothing_is_overwritten_unless_asked_for(folder: Path) -> None:
    made()
    with pytest.raises(DataError, match="out: it exists already"):
        made()
    Path("labels.txt").write_text("0.png 7\n")
    with pytest.raises(DataError, match="names no image that can be read"):
        create_annoset("nowhere", "labels.txt", "out", redo=True)
    assert len(records()) == 3
    create_annoset("data", "labels.txt", "out", redo=True)
    assert len(records()) == 1
    assert {path.name for path in folder.iterdir()} == {"data", "list.txt", "map.prototxt", "labels.txt", "out"}
    with pytest.raises(DataError, match=r"data: it exists already, and is no database\. Choose"):
        create_annoset("data", "labels.txt", "data", redo=True)


def test_images_that_cannot_be_read_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path("data/1.png").write_bytes(b"no image")
    assert made() == 2
    assert [key for key, _ in records()] == [b"00000000_0.png", b"00000002_2.png"]
    assert caplog.messages[0].startswith("Failed to read data/1.png: OpenCV cannot decode its image")


def test_faulty_lists(folder: Path) -> None:
    Path("list.txt").write_text("0.png 0.xml\n\n1.png\n")
    with pytest.raises(
        DataError, match=r"list\.txt:3:1: '1\.png' is one word\. Write an image file and its annotation"
    ):
        made()
    Path("list.txt").write_text("0.png 0.xml\nsmall.png 1.xml\n")
    cv2.imwrite("data/small.png", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(
        DataError, match=r"list\.txt:2:1: the image .* is 3 x 10 x 10 \(C x H x W\), the first one 3 x 10"
    ):
        made(check_size=True)
    assert not Path("out").exists()
